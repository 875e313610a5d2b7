//! `examples/polyglot`: one choreography with a handler in each language, in memory and over a real server.

use heddle_tests::workspace;

use crate::sdks::succeed;

#[test]
fn handlers_in_five_languages_carry_a_parcel_through() {
    let said = succeed(&workspace().join("examples/polyglot"), "heddle test");
    assert!(said.contains(", 0 failed"), "{said}");
}

#[test]
fn handlers_in_five_languages_carry_a_parcel_through_over_a_real_server() {
    let said = succeed(&workspace().join("examples/polyglot"), "heddle test --server");
    assert!(said.contains(", 0 failed"), "{said}");
}
