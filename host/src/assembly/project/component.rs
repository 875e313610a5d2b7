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

const WORLD: &str = "plugin";

/// The contract's interfaces begin so.
const CONTRACT: &str = "heddle:plugin/";

/// A module of its own imports, so that only those get it who tell it the time.
const CLOCK: &str = "heddle_clock";

/// Answers without the host what Go's runtime asks while it collects garbage. It collects when memory is asked of it,
/// and a component that asks the host at that time ends in a trap.
const CLOCK_ADAPTER: &str = include_str!("clock.wat");

/// What is taken from WASI and given to the clock.
const TIME: [&str; 3] = ["clock_time_get", "poll_oneoff", "sched_yield"];

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
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .context("failed to add the contract to the module")?;
    let mut encoder = ComponentEncoder::default();
    let mut encoder = encoder.validate(true).module(&module).context("failed to take the module")?;
    if imports.wasi {
        encoder = encoder.adapter(WASI, WASI_ADAPTER).context("failed to add WASI")?;
    }
    if imports.clock {
        let clock = wat::parse_str(CLOCK_ADAPTER).context("failed to read the clock")?;
        encoder = encoder.adapter(CLOCK, &clock).context("failed to add the clock")?;
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
                Payload::Version { encoding: Encoding::Component, .. } => bail!("a component already"),
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
                CLOCK => self.clock = true,
                contract if contract.starts_with(CONTRACT) => {}
                unknown => self.unknown.push(format!("`{unknown}.{}`", import.name)),
            }
        }
        Ok(())
    }
}

/// The same module with the clock in place of what [`TIME`] names. All else stays as it is, byte for byte.
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

/// The content of an import section in which [`TIME`] comes from the clock.
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
        if from == WASI && TIME.contains(&name) {
            CLOCK.encode(&mut data);
            name.encode(&mut data);
            data.extend(reader.read_bytes(reader.bytes_remaining())?);
        } else {
            data.extend(entry);
        }
    }
    Ok(data)
}
