//! The bindings that are checked in are what `wit-bindgen` makes of the contract.
//!
//! `HEDDLE_BLESS=1` has this test write them again. The files for Go it also lays out with `gofmt`, if that is there.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use heddle_tests::workspace;
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

/// Name and text of each file.
type Sources = BTreeMap<String, String>;

/// Where the package of the bindings for Go is, seen from its module.
const GO_PACKAGE: &str = "heddle/internal/bindings";

/// What the generated Go imports, and what stands in for it in our module.
const GO_RUNTIME: (&str, &str) = ("go.bytecodealliance.org/pkg/wit/", "heddle/internal/wit/");

fn generate(mut generator: Box<dyn WorldGenerator>) -> Sources {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(workspace().join("wit")).expect("the contract can be read");
    let world = resolve.select_world(&[package], Some("plugin")).expect("the contract has a world");
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files).expect("bindings are made");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("bindings are text");
    files.iter().map(|(name, bytes)| (name.to_owned(), text(bytes))).collect()
}

fn c() -> Sources {
    generate(wit_bindgen_c::Opts { no_object_file: true, ..Default::default() }.build())
}

/// As a part of our module, and only where there is a host to call. What only an interface without functions needs is
/// left out.
fn go() -> Sources {
    let options = wit_bindgen_go::Opts {
        format: wit_bindgen_go::Format::False,
        pkg_name: Some(GO_PACKAGE.to_owned()),
        ..Default::default()
    };
    let mut files = generate(options.build());
    files.retain(|name, _| name.ends_with(".go") && !name.contains("heddle_plugin_handler"));
    for text in files.values_mut() {
        *text = format!("//go:build wasip1\n\n{}", text.replace(GO_RUNTIME.0, GO_RUNTIME.1));
    }
    files
}

/// Fails if the files in `folder` are others than `made`, or writes them if that is asked for.
fn check(folder: &Path, made: &Sources, layout: fn(&str) -> String) {
    for (name, text) in made {
        let file = folder.join(name);
        if std::env::var_os("HEDDLE_BLESS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        } else {
            let known = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                layout(&known) == layout(text),
                "`{}` is not what is made of the contract: run this test with HEDDLE_BLESS=1",
                file.display()
            );
        }
    }
}

/// A text without what `gofmt` changes: space, the ends of lines, and the order of imports.
fn go_layout(text: &str) -> String {
    let bare = |line: &str| line.split_whitespace().collect::<String>().trim_end_matches(';').to_owned();
    let mut lines: Vec<String> = text.lines().map(bare).filter(|line| !line.is_empty()).collect();
    if let Some(first) = lines.iter().position(|line| line.starts_with("import(")) {
        let end =
            lines.iter().skip(first).position(|line| line.ends_with(')')).map_or(first, |end| first + end);
        lines[first..end].sort();
    }
    lines.concat()
}

#[test]
fn the_bindings_for_c_are_made_of_the_contract() {
    check(&workspace().join("sdk/c/gen"), &c(), str::to_owned);
}

#[test]
fn the_bindings_for_go_are_made_of_the_contract() {
    let folder = workspace().join("sdk/go/internal/bindings");
    check(&folder, &go(), go_layout);
    if std::env::var_os("HEDDLE_BLESS").is_some() {
        match Command::new("gofmt").arg("-w").arg(&folder).status() {
            Ok(status) => assert!(status.success(), "gofmt: {status}"),
            Err(error) => eprintln!("the files for Go are not laid out: {error}"),
        }
    }
}
