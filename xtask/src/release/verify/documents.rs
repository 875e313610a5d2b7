//! What goes with the packages: checksums, signatures, the bill of materials; and that all of it is the same the next time.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use minisign::{PublicKey, SignatureBox};
use serde_json::Value;

use super::super::folder::Folder;
use super::super::inputs::Inputs;
use super::super::sums::{self, SIGNATURE};
use super::super::{name, sign};
use super::{Outcome, Subject};
use crate::shell::{command, output, run};

/// More crates than this are in the program.
const FEWEST_CRATES: usize = 100;

pub(super) fn checksums(subject: &Subject<'_>) -> Result<Outcome> {
    let mut check = command("sha256sum");
    run(check.args(["--check", "--strict", "--quiet", sums::NAME]).current_dir(&subject.out))?;
    let list = fs::read_to_string(subject.out.join(sums::NAME)).context("there are no checksums")?;
    let listed: BTreeSet<_> =
        list.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name).collect();
    let files = fs::read_dir(&subject.out)?.map(|entry| entry.map(|entry| name(&entry.path())));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let packages: Vec<_> = files.iter().filter(|file| !file.ends_with(SIGNATURE)).collect();
    ensure!(packages.len() == subject.files.len(), "the folder has other files, too: {}", files.join(", "));
    for file in packages {
        ensure!(file == sums::NAME || listed.contains(file.as_str()), "`{file}` has no checksum");
    }
    Ok(Outcome::Holds)
}

pub(super) fn signatures(subject: &Subject<'_>) -> Result<Outcome> {
    let key = PublicKey::from_base64(&subject.key.public()).context("the public key is none")?;
    let fits = |file: &Path, signature: &SignatureBox| -> Result<bool> {
        Ok(minisign::verify(&key, signature, File::open(file)?, true, false, false).is_ok())
    };
    for (file, other) in subject.files.iter().zip(subject.files.iter().cycle().skip(1)) {
        let signature = SignatureBox::from_file(sign::beside(file))?;
        ensure!(fits(file, &signature)?, "`{}` does not fit its signature", name(file));
        ensure!(!fits(other, &signature)?, "`{}` fits the signature of `{}`", name(other), name(file));
        let comment = signature.trusted_comment()?;
        ensure!(
            comment.contains(&format!("file:{}", name(file))),
            "the comment `{comment}` names another file"
        );
    }
    Ok(Outcome::Holds)
}

pub(super) fn reproduced(subject: &Subject<'_>) -> Result<Outcome> {
    let Inputs { binary, epoch, effort, .. } = subject.inputs;
    let again = Inputs::gather(binary, Some(*epoch), *effort)?;
    let out = Folder::open(&subject.folder("again")?)?;
    let files = super::super::build(&again, out, super::is_judged, None)?;
    ensure!(files.len() == subject.files.len(), "there are other files");
    for (one, other) in subject.files.iter().zip(&files) {
        ensure!(name(one) == name(other), "`{}` is now called `{}`", name(one), name(other));
        ensure!(sums::of(one)? == sums::of(other)?, "`{}` has other bytes", name(one));
    }
    Ok(Outcome::Holds)
}

pub(super) fn bill(subject: &Subject<'_>) -> Result<Outcome> {
    let text = fs::read_to_string(subject.package(".cdx.json")?)?;
    let bill: Value = serde_json::from_str(&text).context("it is no JSON")?;
    let components = bill.get("components").and_then(Value::as_array).context("it has no components")?;
    let mut linked = BTreeSet::new();
    for component in components {
        let field = |name: &str| component.get(name).and_then(Value::as_str).unwrap_or_default();
        let (crate_name, purl) = (field("name"), field("purl"));
        let has_all = !field("version").is_empty() && !purl.is_empty() && component.get("licenses").is_some();
        let has_hash = purl.starts_with("pkg:generic/heddle-") || component.get("hashes").is_some();
        ensure!(
            has_all && has_hash,
            "`{crate_name}` lacks a version, license, purl or checksum: {component}"
        );
        if field("scope") == "required" {
            linked.insert(format!("{crate_name}-{}", field("version")));
        }
    }
    ensure!(linked.len() > FEWEST_CRATES, "it names only {} crates", linked.len());
    let seen = seen_in_the_program(subject)?;
    let unnamed: Vec<_> = seen.difference(&linked).map(String::as_str).collect();
    ensure!(unnamed.is_empty(), "the program has parts that it does not name: {}", unnamed.join(", "));
    Ok(Outcome::Holds)
}

/// Crates of the registry whose sources the program names in the places of its panics: a witness that knows nothing of cargo.
fn seen_in_the_program(subject: &Subject<'_>) -> Result<BTreeSet<String>> {
    let program = subject.folder("bill")?.join("heddle");
    fs::write(&program, &subject.inputs.program)?;
    let mut grep = command("grep");
    grep.env("LC_ALL", "C").args(["-aoE", "/registry/src/[^/]+/[A-Za-z0-9_.+-]+/"]).arg(&program);
    let found = output(&mut grep)?;
    let seen: BTreeSet<_> = found
        .lines()
        .filter_map(|line| line.trim_end_matches('/').rsplit('/').next())
        .map(str::to_owned)
        .collect();
    if seen.is_empty() {
        bail!("the program names no sources, so nothing can be compared");
    }
    Ok(seen)
}
