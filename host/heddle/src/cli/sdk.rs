//! `heddle sdk`: a project's copy of the SDK.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::consent::Consent;
use super::fault::Code;
use crate::print::{self, say, visible};
use heddle_project::{Age, Change, Plan, SdkCopy, VERSION};

/// Manage a project's copy of the SDK.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Update(Update),
}

/// Update a project's copy of the SDK to the version of this program.
///
/// The copy is the folder `heddle-sdk`, in the project's folder or above it, as `heddle new` has written it. Lists every file
/// that changes. A file that was edited since is marked, and replaced only after a question, which --yes answers.
/// Files that `heddle new` has not written stay. Projects that take the SDK from their language's registry update it there.
#[derive(Debug, Args)]
struct Update {
    /// The project's folder.
    #[arg(default_value = ".", value_name = "PATH")]
    folder: PathBuf,
    #[command(flatten)]
    consent: Consent,
}

impl Command {
    pub(super) fn run(self, json: bool) -> anyhow::Result<()> {
        match self.action {
            Action::Update(update) => update.run(json),
        }
    }
}

impl Update {
    fn run(self, json: bool) -> anyhow::Result<()> {
        let folder = self.folder.canonicalize().map_err(|error| {
            Code::Usage.fault(format!("failed to open `{}`: {error}", self.folder.display()))
        })?;
        let copy = SdkCopy::find(&folder).ok_or_else(|| {
            Code::NotFound.fault(format!(
                "`{}` has no copy of the SDK, no folder `heddle-sdk`: an SDK that comes from a registry is updated by the \
                 tools of its language",
                folder.display()
            ))
        })?;
        if let (Age::Newer, Some(note)) = (copy.age(), copy.note()) {
            return Err(Code::Refused.fault(note).into());
        }
        let plan = copy.plan()?;
        if !json {
            print_plan(&copy, &plan)?;
        }
        let is_to_be_done = !self.consent.dry_run && !plan.is_current;
        if is_to_be_done {
            let edited = plan.edited().count();
            if edited > 0 {
                self.consent.yes.confirm(&format!("losing the edits of {}", files(edited)))?;
            }
            copy.renew(&plan)?;
        }
        if json {
            print_json(&copy, &plan, self.consent.dry_run)
        } else {
            Ok(print_end(&copy, &plan, self.consent.dry_run)?)
        }
    }
}

fn print_json(copy: &SdkCopy, plan: &Plan, dry_run: bool) -> anyhow::Result<()> {
    print::json(&json!({
        "folder": copy.folder,
        "from": copy.version(),
        "to": VERSION,
        "dry_run": dry_run,
        "changes": plan.changes.iter().map(document).collect::<Vec<_>>(),
    }))
}

fn document(change: &Change) -> Value {
    json!({ "file": change.file, "change": change.kind.name(), "edited": change.edited })
}

/// What is to be seen before a question is asked.
fn print_plan(copy: &SdkCopy, plan: &Plan) -> Result<(), print::Error> {
    let from = copy.version().unwrap_or("unknown");
    say!("{}: heddle {} to {VERSION}", copy.folder.display(), visible(from))?;
    for change in &plan.changes {
        let edited = if change.edited { mark(copy) } else { "" };
        say!("  {:<8} {}{edited}", change.kind.name(), visible(&change.file))?;
    }
    Ok(())
}

/// Behind a file whose edits would be lost.
fn mark(copy: &SdkCopy) -> &'static str {
    match copy.age() {
        Age::Unknown => "  (may have been edited)",
        Age::Same | Age::Older | Age::Newer => "  (edited)",
    }
}

fn print_end(copy: &SdkCopy, plan: &Plan, dry_run: bool) -> Result<(), print::Error> {
    if plan.is_current {
        return say!("up to date: nothing is to be changed");
    }
    if plan.changes.is_empty() {
        return say!(
            "no file differs: only the record of the copy {} the new version",
            if dry_run { "would name" } else { "names" }
        );
    }
    say!("{} {}", files(plan.changes.len()), if dry_run { "would be changed" } else { "changed" })?;
    if copy.is_installed_elsewhere() && !dry_run {
        say!("Next, for Python: `.venv/bin/pip install -r requirements.txt`, which installs the new copy")?;
    }
    Ok(())
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}
