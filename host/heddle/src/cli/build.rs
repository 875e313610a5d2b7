//! `heddle build`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;

use serde_json::json;

use super::CacheArgs;
use crate::build::{Built, build};
use crate::print::{self, complain, say, visible};
use heddle_config::{self as config, Needs};
use heddle_project::Project;
use heddle_values::settings::Settings;

/// Build the component of a project.
///
/// Knows the language by the files in the folder (Cargo.toml, package.json with or without tsconfig.json, requirements.txt,
/// go.mod, src/*.c), runs its tools, and checks the component as a host would. What is missing is named with the command
/// that installs it. The component is put into `dist`.
///
/// If the application's file is there, the handlers in it that use the component decide what it may need.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the component is put. Default: where the heddle.toml in the project's folder or above expects it, below `dist`;
    /// without one, `dist/NAME.wasm` with the name that the language's own file has, or the folder.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The application's file. Default: `heddle.toml` in the project's folder, else in this one, if there is one.
    #[arg(short, long, value_name = "FILE", env = "HEDDLE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        let project = Project::open(&self.folder)?;
        tell_of_sdks([project.folder.clone()]);
        let settings = self.settings(&project)?;
        let built = build(&project, self.output, settings.as_ref(), self.cache.workshop()?).await?;
        if json { print_json(&built) } else { Ok(print_text(&built)?) }
    }

    /// None: nobody named a file, and there is none that can be read.
    fn settings(&self, project: &Project) -> anyhow::Result<Option<Settings>> {
        if let Some(file) = &self.config {
            return Ok(Some(config::load(file, Needs::File)?));
        }
        let usual = [project.folder.join(config::FILE), PathBuf::from(config::FILE)];
        let Some(file) = usual.into_iter().find(|file| file.is_file()) else { return Ok(None) };
        match config::load(&file, Needs::File) {
            Ok(settings) => Ok(Some(settings)),
            // It may be half written just now, and a component can be built without it.
            Err(error) => {
                complain!("note: the component is checked without its handlers: {error}");
                Ok(None)
            }
        }
    }
}

/// Says which copies of the SDK that projects in some folders use are not of this program's version.
fn tell_of_sdks(folders: impl IntoIterator<Item = PathBuf>) {
    for note in heddle_project::notes(folders) {
        complain!("note: {note}");
    }
}

/// Says which copies of the SDK in the projects of an application's plugins are not of this program's version.
pub(super) fn tell_of_sdks_of(settings: &Settings) {
    let plugins = settings.handlers.iter().filter_map(|handler| handler.plugin.path());
    tell_of_sdks(plugins.filter_map(project_of));
}

/// The folder of the project whose component this is: what is above `dist`.
fn project_of(plugin: &Path) -> Option<PathBuf> {
    let output = plugin.parent().filter(|folder| folder.ends_with("dist"))?;
    Some(output.parent()?.to_owned())
}

fn print_json(built: &Built) -> anyhow::Result<()> {
    print::json(&json!({
        "component": built.file,
        "size": built.size,
        "digest": built.digest.to_string(),
        "imports": packages(&built.imports),
        "needs": built.missing,
    }))
}

fn print_text(built: &Built) -> Result<(), print::Error> {
    say!("component  {}", built.file.display())?;
    say!("size       {} bytes", built.size)?;
    say!("digest     {}", built.digest)?;
    for (package, interfaces) in &packages(&built.imports) {
        say!("imports    {}: {}", visible(package), visible(&interfaces.join(", ")))?;
    }
    if let Some(missing) = &built.missing {
        say!("needs      {}", visible(missing))?;
    }
    Ok(())
}

/// Interfaces by package, without versions: a component says of each one of its own.
fn packages(imports: &BTreeSet<String>) -> BTreeMap<&str, Vec<&str>> {
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for import in imports {
        let name = import.split('@').next().unwrap_or(import);
        let (package, interface) = name.split_once('/').unwrap_or((name, ""));
        packages.entry(package).or_default().push(interface);
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_of_a_plugin_is_above_the_folder_dist() {
        assert_eq!(project_of(Path::new("shop/gift/dist/gift.wasm")), Some(PathBuf::from("shop/gift")));
        assert_eq!(project_of(Path::new("dist/gift.wasm")), Some(PathBuf::new()));
        assert_eq!(project_of(Path::new("plugins/gift.wasm")), None);
    }

    #[test]
    fn imports_are_told_by_package() {
        let imports = ["heddle:plugin/log@0.1.0", "heddle:plugin/state@0.1.0", "wasi:io/poll@0.2.9"];
        let imports = imports.map(str::to_owned).into();
        let packages: Vec<_> = packages(&imports).into_iter().collect();
        assert_eq!(packages, [("heddle:plugin", vec!["log", "state"]), ("wasi:io", vec!["poll"])]);
    }
}
