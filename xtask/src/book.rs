//! The book: the documents as pages to read in a browser, below `target/book`.
//!
//! What mdBook reads is a copy that lies as the repository does: the documents that `docs/SUMMARY.md` names, and the files
//! that they lead to. So a link holds here as it does there. What can be wrong in a document (links, headings, contents, code)
//! is found by `tidy` and by the tests of the host; what mdBook itself complains of is a fault, too.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::shell::{command, output, root, run as run_command, step, target};
use crate::tidy::summary::{FILE, FOLDER, leads_to, pages};
use crate::tools;

/// What makes the book, by its name among the tools.
const PROGRAM: &str = "mdbook";

/// The settings of the book, in the folder of its pages.
const SETTINGS: &str = "book.toml";

/// What draws diagrams, a package of npm, and the one file of it that is needed.
const MERMAID: (&str, &str) = ("mermaid@11.17.2", "package/dist/mermaid.min.js");

/// Our part of it, in the folder of the pages.
const DIAGRAMS: &str = "diagrams.js";

/// What is done with the book.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Open it in a browser.
    #[arg(long)]
    open: bool,
    /// Serve it on a local port until Ctrl-C. A document that changes is seen after another `cargo xtask book`.
    #[arg(long)]
    serve: bool,
}

/// Builds the book, and shows it as is wished.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = tools::find_or_install(PROGRAM).context("without mdBook there is no book")?;
    step("book");
    let folder = prepare()?;
    let mut build = command(program);
    build.arg(if options.serve { "serve" } else { "build" });
    if options.open {
        build.arg("--open");
    }
    run_command(build.arg(&folder))?;
    println!("{}", folder.join("book/index.html").display());
    Ok(())
}

/// Builds the book, and fails if mdBook has anything to say about it.
pub(crate) fn check() -> Result<()> {
    let Some(program) = tools::find_or_install(PROGRAM) else {
        eprintln!("skipped: the book is not built");
        return Ok(());
    };
    let folder = prepare()?;
    let built = command(program)
        .arg("build")
        .arg(&folder)
        .env("MDBOOK_LOG", "warn")
        .output()
        .context("failed to start mdBook")?;
    let said = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success() && said.trim().is_empty(), "mdBook says: {}", said.trim());
    Ok(())
}

/// Lays out what mdBook reads; the folder.
fn prepare() -> Result<PathBuf> {
    let folder = target().join("book");
    let source = folder.join("source");
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("failed to empty `{}`", source.display()))?;
    }
    lay(root(), &source)?;
    let settings = root().join(FOLDER).join(SETTINGS);
    let settings = fs::read_to_string(settings).context("failed to read the settings of the book")?;
    let mut settings = settings.replace("src = \".\"", "src = \"source\"");
    match diagrams(&folder) {
        Ok(scripts) => {
            settings =
                settings.replace("[output.html]\n", &format!("[output.html]\nadditional-js = {scripts:?}\n"))
        }
        Err(error) => eprintln!("diagrams are shown as code: {error:#}"),
    }
    write(&folder.join(SETTINGS), settings)?;
    Ok(folder)
}

/// Puts what draws diagrams beside the pages; its files.
fn diagrams(folder: &Path) -> Result<[&'static str; 2]> {
    let (package, file) = MERMAID;
    let library = folder.join("mermaid.min.js");
    let archive = folder.join(format!("{}.tgz", package.replace('@', "-")));
    if !archive.is_file() {
        fs::create_dir_all(folder)?;
        output(command("npm").args(["pack", "--silent", package, "--pack-destination"]).arg(folder))?;
    }
    write(&library, unpack(&archive, file)?)?;
    let ours = root().join(FOLDER).join(DIAGRAMS);
    write(&folder.join(DIAGRAMS), fs::read(ours).with_context(|| format!("failed to read `{DIAGRAMS}`"))?)?;
    Ok(["mermaid.min.js", DIAGRAMS])
}

/// A file out of a compressed archive.
fn unpack(archive: &Path, name: &str) -> Result<Vec<u8>> {
    let file = fs::File::open(archive).with_context(|| format!("failed to open `{}`", archive.display()))?;
    let mut archived = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in archived.entries()? {
        let mut entry = entry?;
        if entry.path()? == Path::new(name) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    bail!("`{}` has no file `{name}`", archive.display())
}

/// Lays the documents of the book, and the files that they lead to, into a folder as they lie in the repository.
fn lay(root: &Path, folder: &Path) -> Result<()> {
    let pages = pages(root)?;
    let mut others = BTreeSet::new();
    for page in &pages {
        let text = fs::read_to_string(root.join(page))
            .with_context(|| format!("failed to read `{}`", page.display()))?;
        others.extend(leads_to(page, &text));
        write(&folder.join(page), plain_fences(&text))?;
    }
    others.retain(|path| !pages.contains(path) && root.join(path).is_file());
    for path in others {
        let content =
            fs::read(root.join(&path)).with_context(|| format!("failed to read `{}`", path.display()))?;
        write(&folder.join(&path), content)?;
    }
    let contents = Path::new(FOLDER).join(FILE);
    let text = fs::read_to_string(root.join(&contents)).context("failed to read the contents of the book")?;
    write(&folder.join(FILE), from_root(&text))
}

/// The contents with paths that begin at the root of the repository rather than in the folder of the pages.
fn from_root(contents: &str) -> String {
    contents.replace("](", &format!("]({FOLDER}/")).replace(&format!("]({FOLDER}/../"), "](")
}

/// A document whose fences have the language and no other note, which mdBook would show as a class.
fn plain_fences(text: &str) -> String {
    let plain = |line: &str| match line.strip_prefix("```").and_then(|info| info.split_once(' ')) {
        Some((language, _)) => format!("```{language}\n"),
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(plain).collect()
}

fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    fs::write(file, content).with_context(|| format!("failed to write `{}`", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lie_in_the_book_as_in_the_repository_and_so_does_what_they_lead_to() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("README.md", "[a](docs/a.md) [l](LICENSE)\n```toml test\nb = 1\n```\n"),
            ("docs/a.md", "![p](p.svg) [folder](../docs)\n"),
            ("docs/p.svg", "<svg/>"),
            ("docs/SUMMARY.md", "[Readme](../README.md)\n- [A](a.md)\n"),
            ("LICENSE", "free"),
            ("secret", "none"),
        ] {
            write(&root.path().join(path), text).unwrap();
        }
        let book = root.path().join("book");
        lay(root.path(), &book).unwrap();
        let read = |path: &str| fs::read_to_string(book.join(path)).ok();
        assert_eq!(read("SUMMARY.md").unwrap(), "[Readme](README.md)\n- [A](docs/a.md)\n");
        assert_eq!(read("README.md").unwrap(), "[a](docs/a.md) [l](LICENSE)\n```toml\nb = 1\n```\n");
        assert!(read("docs/a.md").is_some() && read("docs/p.svg").is_some() && read("LICENSE").is_some());
        assert!(read("secret").is_none() && read("docs/SUMMARY.md").is_none());
    }

    #[test]
    fn the_book_of_this_repository_can_be_laid() {
        let folder = tempfile::tempdir().unwrap();
        lay(root(), folder.path()).unwrap();
        assert!(folder.path().join("docs/heddle-toml.md").is_file());
    }
}
