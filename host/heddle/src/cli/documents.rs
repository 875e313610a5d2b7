//! What the documents show of the command line and of files, held against what reads them here. For tests only.
//!
//! Every command line of `heddle` in a block (`console`, `sh`) must be one that the program accepts, and every one in the
//! text must name a command and options that there are. Every block of TOML says which file it shows, and is read as one.
//! Whether a block says what it is, and whether JSON is JSON, is checked by `xtask/src/tidy/code.rs`.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use heddle_config::{self as config, Needs};
use heddle_values::settings::Settings;
use toml::{Table, Value};

use super::Cli;
use crate::testing::case;

/// The file that parts of one are put into, with the handler that the documents speak of.
const BASE: &str = r#"
app = "shop"

[stream]
name = "SHOP"
subjects = ["order.>", "gift.>"]

[handlers.loyalty]
plugin = "loyalty.wasm"
subscribe = ["order.placed.*"]
"#;

/// A document.
struct Document {
    /// Below the root of the repository.
    name: String,
    text: String,
}

/// A fenced block of code.
struct Block<'a> {
    place: String,
    /// The language, and what else the fence says.
    info: &'a str,
    code: &'a str,
}

/// Every document for users.
fn documents() -> Vec<Document> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let below = |folder: &str| {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().flatten();
        entries.map(|entry| Path::new(folder).join(entry.file_name())).collect::<Vec<PathBuf>>()
    };
    let mut files: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).into();
    files.extend(
        below("docs").into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "md")),
    );
    let folders = below("sdk").into_iter().chain(below("examples"));
    files.extend(folders.map(|folder| folder.join("README.md")).filter(|file| root.join(file).exists()));
    files.extend(pages_below(&root, Path::new("host/heddle/packaging")));
    files.sort();
    let read = |file: PathBuf| Document {
        name: file.display().to_string(),
        text: std::fs::read_to_string(root.join(&file)).unwrap(),
    };
    files.into_iter().map(read).collect()
}

/// The documents in a folder and in all folders below it.
fn pages_below(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join(folder)).unwrap().flatten();
    let found = entries.flat_map(|entry| {
        let path = folder.join(entry.file_name());
        if root.join(&path).is_dir() { pages_below(root, &path) } else { vec![path] }
    });
    found.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect()
}

impl Document {
    /// The blocks of code: every other part between fences at the beginning of a line.
    fn blocks(&self) -> Vec<Block<'_>> {
        let mut line = 1;
        let mut found = Vec::new();
        for (index, part) in self.text.split("\n```").enumerate() {
            if index % 2 == 1 {
                let (info, code) = part.split_once('\n').unwrap_or((part, ""));
                found.push(Block { place: format!("{}:{line}", self.name), info, code });
            }
            line += part.matches('\n').count() + 1;
        }
        found
    }

    /// What stands in backticks in the text. A paragraph with double ones is left out.
    fn quoted(&self) -> Vec<String> {
        let prose = self.text.split("\n```").step_by(2);
        let paragraphs =
            prose.flat_map(|part| part.split("\n\n")).filter(|paragraph| !paragraph.contains("``"));
        let lines = paragraphs.flat_map(|paragraph| match paragraph.starts_with('|') {
            true => paragraph.lines().map(str::to_owned).collect(),
            false => vec![paragraph.replace('\n', " ")],
        });
        lines
            .flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
}

impl Block<'_> {
    fn says(&self, word: &str) -> bool {
        self.info.split_whitespace().any(|known| known == word)
    }

    /// The lines that a shell would be given.
    fn lines(&self) -> Vec<String> {
        let whole = self.code.replace("\\\n", " ");
        let lines = whole.lines().map(str::to_owned);
        match self.info.split_whitespace().next() {
            Some("sh") => lines.collect(),
            Some("console") => lines.filter_map(|line| line.strip_prefix("$ ").map(str::to_owned)).collect(),
            _ => Vec::new(),
        }
    }
}

/// The calls of `heddle` in a line of a shell, each with its words.
fn calls(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("no shell can read `{line}`"));
    let ends = |word: &String| ["|", "||", "&&", ";", "&", ">"].contains(&word.as_str());
    let parts = words.split(ends).map(<[String]>::to_vec);
    parts.filter(|part| part.first().is_some_and(|word| Path::new(word).ends_with("heddle"))).collect()
}

/// Why the program would not accept a command line, if it would not.
fn refusal(words: &[String]) -> Option<clap::Error> {
    let error = Cli::try_parse_from(words).err()?;
    (!matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)).then_some(error)
}

/// Why the program would not accept a command line in the text, where values are written as `NAME` or `[NAME]`, and some
/// are left out.
fn sketch_refusal(sketch: &str) -> Option<clap::Error> {
    let line = sketch.strip_prefix("dl ").map_or(sketch.to_owned(), |rest| format!("heddle dl {rest}"));
    let line = line.replace(['[', ']', '…', '\\'], "");
    let words = calls(&line).into_iter().next()?;
    // `heddle COMMAND` is any.
    if words.get(1).is_some_and(|word| word.chars().all(|c| c.is_ascii_uppercase())) {
        return None;
    }
    let error = refusal(&words)?;
    let is_unfinished = matches!(
        error.kind(),
        ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    (!is_unfinished).then_some(error)
}

/// Puts what a part of a file says into a whole one.
fn merge(whole: &mut Table, part: Table) {
    for (key, value) in part {
        match (whole.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => drop(whole.insert(key, value)),
        }
    }
}

/// Reads a text as `heddle.toml`.
fn read(text: &str) -> Result<Settings, String> {
    read_in(tempfile::tempdir().unwrap().path(), text)
}

/// Reads a text as the `heddle.toml` of a folder, from which its paths begin.
fn read_in(folder: &Path, text: &str) -> Result<Settings, String> {
    let file = folder.join(config::FILE);
    std::fs::write(&file, text).unwrap();
    config::load(&file, Needs::File).map_err(|error| error.to_string())
}

/// What is wrong with a block of TOML, by what it says that it is.
fn toml_fault(block: &Block<'_>) -> Option<String> {
    let table = |text: &str| text.parse::<Table>().map_err(|error| error.to_string());
    let within = |part: Table| {
        let mut whole = BASE.parse::<Table>().expect("the base is TOML");
        merge(&mut whole, part);
        read(&whole.to_string()).map(drop)
    };
    let result = match block {
        block if block.says("heddle.toml") => read(block.code).map(drop),
        block if block.says("tables") => table(block.code).and_then(within),
        block if block.says("handler") => {
            let indented = format!("[handlers.loyalty]\n{}", block.code);
            table(&indented).and_then(within)
        }
        block if block.says("test") => {
            case::parse(block.code).map(drop).map_err(|error| format!("{error:#}"))
        }
        block => table(block.code).map(drop),
    };
    result.err().map(|error| format!("{}: {error}", block.place))
}

#[test]
fn every_command_line_that_a_document_shows_is_accepted() {
    let (mut seen, mut faults) = (0, Vec::new());
    for document in documents() {
        for block in document.blocks() {
            for words in block.lines().iter().flat_map(|line| calls(line)) {
                seen += 1;
                faults.extend(refusal(&words).map(|error| format!("{}: {words:?}: {error}", block.place)));
            }
        }
    }
    assert!(seen > 30, "only {seen} command lines were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_command_and_option_that_a_document_speaks_of_is_there() {
    let (mut seen, mut faults) = (0, Vec::new());
    for document in documents() {
        for sketch in document.quoted() {
            if sketch.starts_with("heddle ") || sketch.starts_with("dl ") {
                seen += 1;
                faults.extend(
                    sketch_refusal(&sketch).map(|error| format!("{}: `{sketch}`: {error}", document.name)),
                );
            }
        }
    }
    assert!(seen > 100, "only {seen} command lines were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_readme_names_every_command() {
    let documents = documents();
    let readme = documents.iter().find(|document| document.name == "README.md").expect("there is a README");
    let quoted = readme.quoted();
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        let is_named =
            |quoted: &String| quoted.split_whitespace().find(|word| *word != "heddle") == Some(name);
        assert!(quoted.iter().any(is_named), "README.md does not name `heddle {name}`");
    }
}

#[test]
fn every_file_that_a_document_shows_is_read_without_a_fault() {
    let (mut seen, mut faults) = (0, Vec::new());
    for document in documents() {
        for block in document.blocks().iter().filter(|block| block.says("toml")) {
            seen += 1;
            faults.extend(toml_fault(block));
        }
    }
    assert!(seen > 5, "only {seen} files were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_line_of_the_list_of_commands_or_options_ends_with_a_full_stop() {
    fn check(command: &clap::Command, path: &str, faults: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        let helps = command.get_arguments().map(|argument| (argument.get_id().as_str(), argument.get_help()));
        for (what, help) in helps.chain([("itself", command.get_about())]) {
            match help.map(ToString::to_string) {
                Some(help) if !help.ends_with('.') => {}
                help => faults.push(format!("{path}: {what}: {help:?}")),
            }
        }
        command.get_subcommands().for_each(|command| check(command, &path, faults));
    }
    let mut faults = Vec::new();
    check(&Cli::command(), "", &mut faults);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_readme_shows_the_file_that_a_new_project_has() {
    let documents = documents();
    let readme = documents.iter().find(|document| document.name == "README.md").expect("there is a README");
    let blocks = readme.blocks();
    let shown = blocks.iter().find(|block| block.says("heddle.toml")).expect("it shows the file");
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("loyalty");
    heddle_project::create(&project, "loyalty", heddle_project::Language::Rust).unwrap();
    assert_eq!(
        shown.code.trim_end(),
        std::fs::read_to_string(project.join(config::FILE)).unwrap().trim_end()
    );
}

/// The block of docs/heddle-toml.md that has every key.
fn all_keys() -> String {
    let documents = documents();
    let document = documents.iter().find(|document| document.name == "docs/heddle-toml.md");
    let blocks = document.expect("the page is there").blocks();
    let block = blocks.iter().find(|block| block.says("heddle.toml")).expect("it has a whole file");
    block.code.to_owned()
}

#[test]
fn the_defaults_that_a_document_shows_are_those_that_hold() {
    // A table for outages also turns them on.
    let plain = format!("{BASE}outage = true\n");
    let folder = tempfile::tempdir().unwrap();
    let [shown, plain] =
        [&all_keys(), &plain].map(|text| read_in(folder.path(), text).expect("a sound file"));
    assert_eq!(shown, plain);
}

#[test]
fn every_key_that_a_document_shows_in_a_comment_is_known() {
    let text = all_keys();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some(key) = line.strip_prefix("# ").filter(|key| key.contains('=')) else { continue };
        // A table that stands in a comment as a whole begins above.
        let above = lines.get(..index).unwrap_or_default().iter().rposition(|line| !line.starts_with("# "));
        let head = above.and_then(|above| lines.get(above + 1)).filter(|head| head.starts_with("# ["));
        let mut file: Vec<&str> = lines.clone();
        let shown = head.map_or(key.to_owned(), |head| format!("{}\n{key}", head.trim_start_matches("# ")));
        file.splice(index..=index, [shown.as_str()]);
        let faults = read(&file.join("\n")).err().unwrap_or_default();
        assert!(!faults.contains("unknown key") && !faults.contains("not TOML"), "`{line}`: {faults}");
    }
}
