//! stub
use std::str::FromStr;
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("x")]
    X,
}
pub struct Reference;
impl FromStr for Reference {
    type Err = Error;
    fn from_str(_: &str) -> Result<Self, Error> {
        Err(Error::X)
    }
}
pub struct Pulled {
    pub wasm: Vec<u8>,
    pub signature: Option<String>,
    pub manifest: String,
}
pub struct Registry;
impl Registry {
    pub fn new() -> Self {
        Registry
    }
    pub async fn digest(&self, _: &Reference) -> Result<String, Error> {
        Err(Error::X)
    }
    pub async fn pull(&self, _: &Reference, _: u64) -> Result<Pulled, Error> {
        Err(Error::X)
    }
}
