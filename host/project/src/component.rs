//! Turns the core module that a compiler made into a component that a host can run.
//!
//! A module may import the interfaces of the contract, WASI preview1, which the official adapter translates, and
//! `heddle_clock`, a clock of our own. Whoever imports that clock gets it in place of the one of WASI.

use anyhow::{Context, bail, ensure};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as WASI_ADAPTER,
};
use wasm_encoder::{Encode, RawSection, SectionId};
use wasmparser::{BinaryReader, Encoding, ImportSectionReader, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::wasi_clock;

const WORLD: &str = "plugin";

/// The contract's interfaces begin so.
const CONTRACT: &str = "heddle:plugin/";

/// Makes a component for the world `plugin` of `wit`, the text of `heddle.wit`.
///
/// # Errors
/// The bytes are no core module, it imports what no host has, or it does not export what the world asks for.
pub(super) fn componentize(core: &[u8], wit: &str) -> anyhow::Result<Vec<u8>> {
    let imports = Imports::read(core)?;
    ensure!(
        imports.unknown.is_empty(),
        "the module imports what no host has: {}",
        imports.unknown.join(", ")
    );
    let mut module = if imports.clock { with_own_clock(core)? } else { core.to_vec() };
    let mut resolve = Resolve::default();
    let package = resolve.push_str("heddle.wit", wit).context("failed to read the contract")?;
    let world = resolve.select_world(&[package], Some(WORLD)).context("failed to read the contract")?;
    // Names as the contract writes them, not in their canonical form.
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .context("failed to add the contract to the module")?;
    let mut encoder = ComponentEncoder::default();
    let mut encoder = encoder.validate(true).module(&module).context("failed to take the module")?;
    if imports.wasi {
        encoder = encoder.adapter(WASI, WASI_ADAPTER).context("failed to add WASI")?;
    }
    if imports.clock {
        let adapter = wasi_clock::adapter()?;
        encoder = encoder.adapter(wasi_clock::MODULE, &adapter).context("failed to add the clock")?;
    }
    encoder.encode().context("the module does not fit the contract")
}

/// What a module asks for.
#[derive(Debug, Default)]
struct Imports {
    wasi: bool,
    clock: bool,
    /// As `module.name`, in backticks.
    unknown: Vec<String>,
}

impl Imports {
    fn read(core: &[u8]) -> anyhow::Result<Self> {
        let mut imports = Self::default();
        for payload in Parser::new(0).parse_all(core) {
            match payload.context("not a WebAssembly module")? {
                Payload::Version { encoding: Encoding::Component, .. } => bail!("it is a component already"),
                Payload::ImportSection(section) => imports.add(section)?,
                _ => {}
            }
        }
        Ok(imports)
    }

    fn add(&mut self, section: ImportSectionReader<'_>) -> anyhow::Result<()> {
        for import in section.into_imports() {
            let import = import.context("the imports cannot be read")?;
            match import.module {
                WASI => self.wasi = true,
                wasi_clock::MODULE => self.clock = true,
                contract if contract.starts_with(CONTRACT) => {}
                unknown => self.unknown.push(format!("`{unknown}.{}`", import.name)),
            }
        }
        Ok(())
    }
}

/// The module `core` with the clock in place of what [`wasi_clock::ANSWERS`] names. All else stays as it is, byte for byte.
fn with_own_clock(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload.context("not a WebAssembly module")?;
        if let Payload::ImportSection(section) = payload {
            let data = renamed(core, section)?;
            module.section(&RawSection { id: SectionId::Import.into(), data: &data });
        } else if let Some((id, range)) = payload.as_section() {
            let data = core.get(range).context("a section ends too early")?;
            module.section(&RawSection { id, data });
        }
    }
    Ok(module.finish())
}

/// The content of an import section in which [`wasi_clock::ANSWERS`] comes from the clock.
fn renamed(core: &[u8], section: ImportSectionReader<'_>) -> anyhow::Result<Vec<u8>> {
    let end = section.range().end;
    let mut starts = Vec::new();
    for group in section {
        match group.context("the imports cannot be read")? {
            wasmparser::Imports::Single(start, _) => starts.push(start),
            _ => bail!("the imports are in groups, which is not supported"),
        }
    }
    let mut data = Vec::new();
    starts.len().encode(&mut data);
    let ends = starts.iter().skip(1).chain([&end]);
    for (start, end) in starts.iter().zip(ends) {
        let entry = core.get(*start..*end).context("an import ends too early")?;
        let mut reader = BinaryReader::new(entry, 0);
        let (from, name) = (reader.read_string()?, reader.read_string()?);
        if from == WASI && wasi_clock::ANSWERS.contains(&name) {
            wasi_clock::MODULE.encode(&mut data);
            name.encode(&mut data);
            data.extend(reader.read_bytes(reader.bytes_remaining())?);
        } else {
            data.extend(entry);
        }
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIT: &str = include_str!("../../../wit/heddle.wit");

    /// A module of a handler that is always done, with more imports.
    fn module(imports: &str) -> Vec<u8> {
        let text = format!(
            r#"(module
                {imports}
                (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                (func (export "heddle:plugin/handler@0.1.0#handle")
                    (param i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32) (result i32)
                    (i32.const 16)))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// What the component of a module imports.
    fn imports(core: &[u8]) -> Vec<String> {
        let component = componentize(core, WIT).unwrap();
        let mut names = Vec::new();
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(&component) {
            match payload.unwrap() {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 0 => {
                    names.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
                }
                _ => {}
            }
        }
        names
    }

    fn refusal(core: &[u8]) -> String {
        format!("{:#}", componentize(core, WIT).unwrap_err())
    }

    /// What every component of the contract imports: types, no functions.
    const TYPES: &str = "heddle:plugin/types@0.1.0";

    #[test]
    fn a_module_without_imports_becomes_a_component_that_calls_nobody() {
        assert_eq!(imports(&module("")), [TYPES]);
    }

    #[test]
    fn a_module_may_import_the_contract() {
        let attempt = r#"(import "heddle:plugin/context@0.1.0" "attempt" (func (result i32)))"#;
        let names = imports(&module(attempt));
        assert_eq!(names, [TYPES, "heddle:plugin/context@0.1.0"]);
    }

    #[test]
    fn a_module_of_preview1_gets_what_it_needs_of_wasi() {
        let random = r#"(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))"#;
        let names = imports(&module(random));
        assert!(names.iter().any(|name| name.starts_with("wasi:random/random@")), "{names:?}");
    }

    const TIME: &str = r#"
        (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))"#;

    #[test]
    fn a_module_that_tells_the_clock_the_time_asks_no_other() {
        assert!(imports(&module(TIME)).iter().any(|name| name.starts_with("wasi:clocks/")));
        let told = format!(r#"{TIME} (import "heddle_clock" "set_now" (func (param i64)))"#);
        assert_eq!(imports(&module(&told)), [TYPES]);
    }

    #[test]
    fn only_the_names_of_imports_change_for_the_clock() {
        let core = module(TIME);
        let changed = with_own_clock(&core).unwrap();
        let wanted = module(&TIME.replace("wasi_snapshot_preview1", wasi_clock::MODULE));
        assert_eq!(changed, wanted);
    }

    #[test]
    fn an_import_that_no_host_has_is_named() {
        let foreign = r#"(import "env" "puts" (func (param i32))) (import "js" "now" (func))"#;
        let text = refusal(&module(foreign));
        assert_eq!(text, "the module imports what no host has: `env.puts`, `js.now`");
        let unknown = r#"(import "wasi_snapshot_preview1" "thread_spawn" (func))"#;
        assert!(refusal(&module(unknown)).contains("thread_spawn"));
        let unknown = r#"(import "heddle:plugin/context@0.1.0" "weather" (func))"#;
        assert!(refusal(&module(unknown)).contains("weather"));
    }

    #[test]
    fn a_module_without_a_handler_is_refused() {
        let text = refusal(&wat::parse_str("(module)").unwrap());
        assert!(text.starts_with("the module does not fit the contract: "), "{text}");
        assert!(text.contains("heddle:plugin/handler"), "{text}");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert_eq!(refusal(b"\0asm\x0d\0\x01\0"), "it is a component already");
        assert!(refusal(b"nope").starts_with("not a WebAssembly module"));
    }
}
