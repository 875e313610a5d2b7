//! What a handler's part of the file says about building its plugin.

use std::path::PathBuf;

use super::scope::Scope;
use super::section::{Placed, Section};
use heddle_values::settings::{Build, BuildCommand};

/// None where something is faulty.
pub(super) fn resolve(mut section: Section<'_>, scope: &Scope<'_>) -> Option<Build> {
    let command = command(&mut section);
    let watch = watch(&mut section, scope);
    section.finish();
    Some(Build { command: command?, watch })
}

/// A text for the shell, or a program with its arguments.
fn command(section: &mut Section<'_>) -> Option<BuildCommand> {
    let Some(value) = section.value("command") else {
        section.required("command");
        return None;
    };
    let texts = section.texts("command");
    let parts: Vec<&str> = texts.iter().map(|text| text.value).collect();
    let command = match parts.split_first() {
        Some((text, _)) if text.trim().is_empty() => None,
        Some((text, _)) if value.get_ref().is_str() => Some(BuildCommand::Shell((*text).to_owned())),
        Some((program, arguments)) => Some(BuildCommand::Program {
            program: (*program).to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        }),
        // Of another type: that was said.
        None if value.get_ref().as_array().is_none_or(|array| !array.is_empty()) => return None,
        None => None,
    };
    if command.is_none() {
        section.fault(value.span(), "`command` needs a program to run");
    }
    command
}

fn watch(section: &mut Section<'_>, scope: &Scope<'_>) -> Vec<PathBuf> {
    let Some(value) = section.value("watch") else {
        section.required("watch");
        return Vec::new();
    };
    if value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
        section.fault(value.span(), "`watch` needs at least one file or folder");
    }
    let mut paths = Vec::new();
    for Placed { value, span } in section.texts("watch") {
        let path = scope.folder.join(value);
        if !path.exists() {
            section.unbuildable(span, format!("`watch`: `{}` does not exist", path.display()));
        }
        paths.push(path);
    }
    paths
}
