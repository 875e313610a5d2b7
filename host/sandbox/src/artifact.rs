//! Compiled plugins on disk, so that each is compiled once.
//!
//! Compiled code is native code: loading a forged file would hand the host over. So the folder belongs to
//! this user alone, every file begins with a hash keyed by a secret of that folder, and nothing from
//! elsewhere is ever loaded. A file that does not fit is compiled again.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::Digest as _;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::Error;

/// What the folder may hold, in bytes: some hundred versions of the largest plugins, thousands of small ones.
pub(super) const MAX_HELD: u64 = 8 << 30;

const SECRET: usize = 32;
const TAG: usize = 32;

/// The SHA-256 of a component's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a component.
    pub fn of(wasm: &[u8]) -> Self {
        Digest(sha2::Sha256::digest(wasm).into())
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }

    /// Reads what [`Display`](fmt::Display) writes. None: it is not a digest.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64)?;
        let mut digest = [0; 32];
        for (index, slot) in digest.iter_mut().enumerate() {
            *slot = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Digest(digest))
    }

    fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The folder of compiled plugins.
#[derive(Debug)]
pub(super) struct Artifacts {
    folder: PathBuf,
    secret: [u8; SECRET],
}

impl Artifacts {
    /// Opens the folder or makes it.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let failed = |cause: String| Error::Artifacts { path: folder.to_owned(), cause };
        let io = |error: std::io::Error| failed(error.to_string());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        let facts = fs::metadata(folder).map_err(io)?;
        if facts.uid() != rustix::process::geteuid().as_raw() {
            return Err(failed("it belongs to another user".to_owned()));
        }
        if facts.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        let secret = secret(folder).map_err(io)?;
        Ok(Artifacts { folder: folder.to_owned(), secret })
    }

    /// The compiled component, if it is there and sound. The component itself is kept too.
    pub(super) fn load(&self, engine: &Engine, digest: Digest, wasm: &[u8]) -> Option<Component> {
        let path = self.path(engine, digest);
        let bytes = fs::read(&path).ok()?;
        let (tag, code) = bytes.split_at_checked(TAG)?;
        let expected = self.tag(engine, code);
        if expected != <[u8; TAG]>::try_from(tag).ok()? {
            tracing::warn!(plugin = %digest.short(), "compiled plugin is damaged and will be compiled again");
            return None;
        }
        self.touch(engine, digest);
        if !self.wasm_path(digest).exists() {
            // Without it, nobody could go back to this version.
            self.write(self.wasm_path(digest), [wasm, &[]]).ok();
        }
        deserialize(engine, code).ok()
    }

    /// What compiled code begins with: nobody without the secret can make it, and it holds for one engine only, for some
    /// settings (such as canonical NaNs) the engine itself does not find in the code.
    fn tag(&self, engine: &Engine, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&compatibility(engine).to_le_bytes());
        hasher.update(code);
        hasher.finalize()
    }

    fn write(&self, path: PathBuf, parts: [&[u8]; 2]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        parts.into_iter().try_for_each(|part| file.write_all(part))?;
        file.persist(path)?;
        Ok(())
    }

    /// The component of a digest, if it is there and sound.
    pub(super) fn wasm(&self, digest: Digest) -> Option<Vec<u8>> {
        fs::read(self.wasm_path(digest)).ok().filter(|wasm| Digest::of(wasm) == digest)
    }

    /// Keeps a component and its compiled code, and loads it.
    pub(super) fn store(
        &self,
        engine: &Engine,
        digest: Digest,
        code: &[u8],
        wasm: &[u8],
    ) -> Result<Component, Error> {
        let failed = |cause: String| Error::Artifacts { path: self.folder.clone(), cause };
        let component = deserialize(engine, code).map_err(|error| not_loaded(&error))?;
        let tag = self.tag(engine, code);
        self.write(self.wasm_path(digest), [wasm, &[]])
            .and_then(|()| self.write(self.path(engine, digest), [tag.as_bytes(), code]))
            .map_err(|error| failed(error.to_string()))?;
        Ok(component)
    }

    /// Says that a component is in use, to every host that shares the folder: what was used last is removed last.
    pub(super) fn touch(&self, engine: &Engine, digest: Digest) {
        for path in [self.path(engine, digest), self.wasm_path(digest)] {
            fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now())).ok();
        }
    }

    /// Removes what was not used for longest, if there is more than `most` bytes. What is `used` stays: without it no host
    /// could go on with the version that is live.
    pub(super) fn prune(&self, most: u64, used: &HashSet<Digest>) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let fact = |entry: fs::DirEntry| {
            let path = entry.path();
            let ours = path.extension().is_some_and(|ending| ending == "wasm" || ending == "cwasm");
            let facts = entry.metadata().ok().filter(|_| ours)?;
            Some((facts.modified().ok()?, facts.len(), path))
        };
        let mut files: Vec<_> = entries.flatten().filter_map(fact).collect();
        let mut held: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        if held <= most {
            return;
        }
        let used: HashSet<String> = used.iter().map(Digest::hex).collect();
        let is_used = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.get(..64).is_some_and(|hex| used.contains(hex))
        };
        files.retain(|(_, _, path)| !is_used(path));
        files.sort_unstable();
        for (_, bytes, path) in files {
            // A little more, so that not every new one has to look again.
            if held <= most / 8 * 7 {
                return;
            }
            fs::remove_file(path).ok();
            held = held.saturating_sub(bytes);
        }
    }

    fn wasm_path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{}.wasm", digest.hex()))
    }

    fn path(&self, engine: &Engine, digest: Digest) -> PathBuf {
        let compatibility = compatibility(engine);
        self.folder.join(format!("{}-{compatibility:016x}.cwasm", digest.hex()))
    }
}

/// Why code cannot be loaded that was compiled just now.
fn not_loaded(error: &wasmtime::Error) -> Error {
    let denied = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let errno = cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.kind());
        io.or(errno) == Some(std::io::ErrorKind::PermissionDenied)
    };
    match error.chain().any(denied) {
        true => Error::NotExecutable(one_line(error)),
        // What keeps it from being loaded is what it asks for.
        false => Error::TooLarge(one_line(error)),
    }
}

fn one_line(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn compatibility(engine: &Engine) -> u64 {
    use std::hash::Hash;
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.digest()
}

#[expect(unsafe_code, reason = "compiled code can only be loaded so; see the module's promise")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was made by `Engine::precompile_component` in a process of this host, either just now or
    // before, and then its keyed hash has been checked.
    unsafe { Component::deserialize(engine, code) }
}

/// The folder's secret, made on first use. Two hosts that start at once agree on one.
fn secret(folder: &Path) -> std::io::Result<[u8; SECRET]> {
    let path = folder.join("secret");
    if !path.exists() {
        let fresh: [u8; SECRET] = rand::random();
        let mut file =
            tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
        file.write_all(&fresh)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
    }
    let bytes = {
        use std::io::Read;
        let mut bytes = Vec::new();
        fs::OpenOptions::new().read(true).custom_flags(0).open(&path)?.read_to_end(&mut bytes)?;
        bytes
    };
    <[u8; SECRET]>::try_from(bytes.as_slice())
        .map_err(|_| std::io::Error::other("file `secret` is damaged: remove it"))
}

#[cfg(test)]
mod tests {
    use super::super::config::code_config;
    use super::*;

    #[test]
    fn the_folder_and_its_secret_are_private_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("artifacts");
        let first = Artifacts::open(&path).unwrap();
        let second = Artifacts::open(&path).unwrap();
        assert_eq!(first.secret, second.secret);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join("secret")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_artifact_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let engine = Engine::new(&code_config()).unwrap();
        let code = engine.precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        let digest = Digest::of(b"some");
        artifacts.store(&engine, digest, &code, b"some").unwrap();
        assert!(artifacts.load(&engine, digest, b"some").is_some());
        assert_eq!(artifacts.wasm(digest).as_deref(), Some(&b"some"[..]));
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        let path = artifacts.path(&engine, digest);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(artifacts.load(&engine, digest, b"some").is_none());
    }

    #[test]
    fn code_of_an_engine_that_computes_otherwise_is_not_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let ours = Engine::new(&code_config()).unwrap();
        let component = b"\0asm\x0d\0\x01\0";
        let digest = Digest::of(component);
        type Setting = fn(&mut wasmtime::Config) -> &mut wasmtime::Config;
        let settings: [Setting; 2] = [
            |config| config.cranelift_nan_canonicalization(false),
            |config| config.relaxed_simd_deterministic(false),
        ];
        for setting in settings {
            let mut config = code_config();
            setting(&mut config);
            let other = Engine::new(&config).unwrap();
            let code = other.precompile_component(component).unwrap();
            artifacts.store(&other, digest, &code, component).unwrap();
            assert_ne!(artifacts.path(&ours, digest), artifacts.path(&other, digest));
            assert!(artifacts.load(&ours, digest, component).is_none());
            // Not even in the place of one that is.
            fs::rename(artifacts.path(&other, digest), artifacts.path(&ours, digest)).unwrap();
            assert!(artifacts.load(&ours, digest, component).is_none());
        }
    }

    #[test]
    fn what_is_used_is_never_removed_however_old_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let engine = Engine::new(&code_config()).unwrap();
        let code = engine.precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        let digests: Vec<Digest> = (0..5_u8).map(|n| Digest::of(&[n])).collect();
        for (age, digest) in digests.iter().enumerate() {
            artifacts.store(&engine, *digest, &code, &[age as u8]).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age as u64);
            for path in [artifacts.path(&engine, *digest), artifacts.wasm_path(*digest)] {
                fs::File::open(path).unwrap().set_modified(time).unwrap();
            }
        }
        artifacts.touch(&engine, digests[1]);
        // The oldest is in use, and the next was just now.
        artifacts.prune(3 * (code.len() as u64 + 40), &HashSet::from([digests[0]]));
        let left: Vec<bool> = digests.iter().map(|digest| artifacts.wasm(*digest).is_some()).collect();
        assert_eq!(left, [true, true, false, false, false]);
    }
}
