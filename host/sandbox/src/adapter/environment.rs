//! What handlers of other worlds also import: `wasi:logging` and `wasi:config`.
//!
//! Log lines become ours, under the same bounds; the configuration is the handler's table of `heddle.toml`.

use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker};

use self::wasi::config::store;
use self::wasi::logging::logging;
use crate::LogLevel;
use crate::guest::Guest;

wasmtime::component::bindgen!({
    path: ["wit/wasi-logging", "wit/wasi-config"],
    inline: "
        package heddle:adapter;

        world environment {
            import wasi:logging/logging@0.1.0-draft;
            import wasi:config/store@0.2.0-rc.1;
        }
    ",
    world: "heddle:adapter/environment",
    imports: { default: trappable },
});

/// The functions of `wasi:config/store` under the names that earlier drafts had.
const CONFIG_BEFORE: [&str; 2] = ["wasi:config/store@0.2.0-draft", "wasi:config/runtime@0.2.0-draft"];

/// Answers logging and configuration.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    Environment::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    for name in CONFIG_BEFORE {
        let mut config = linker.instance(name)?;
        config.func_wrap("get", |mut guest: StoreContextMut<'_, Guest>, (key,): (String,)| {
            Ok((store::Host::get(guest.data_mut(), key)?,))
        })?;
        config.func_wrap("get-all", |mut guest: StoreContextMut<'_, Guest>, (): ()| {
            Ok((store::Host::get_all(guest.data_mut())?,))
        })?;
    }
    Ok(())
}

impl logging::Host for Guest {
    fn log(&mut self, level: logging::Level, context: String, message: String) -> wasmtime::Result<()> {
        self.count()?;
        let level = match level {
            logging::Level::Trace => LogLevel::Trace,
            logging::Level::Debug => LogLevel::Debug,
            logging::Level::Info => LogLevel::Info,
            logging::Level::Warn => LogLevel::Warn,
            logging::Level::Error | logging::Level::Critical => LogLevel::Error,
        };
        match context.as_str() {
            "" => self.lines.log(level, &message),
            context => self.lines.log(level, &format!("{context}: {message}")),
        }
        Ok(())
    }
}

impl store::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        self.count()?;
        Ok(Ok(self.policy().config.get(&key).map(|value| value.reveal().to_owned())))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        self.count()?;
        let all = self.policy().config.iter();
        Ok(Ok(all.map(|(key, value)| (key.clone(), value.reveal().to_owned())).collect()))
    }
}
