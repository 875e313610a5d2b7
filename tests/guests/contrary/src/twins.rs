//! The contract's functions for text, which the SDK for Rust has no use for.

use heddle_sdk::Verdict;

/// Appends to the state as text, and publishes payload and state as text.
#[cfg(target_arch = "wasm32")]
pub(crate) fn all(subject: &str) -> Verdict {
    use heddle_sdk::__private::bindings::heddle::plugin::{context, effects, state};
    use heddle_sdk::OrFail;

    let state = state::get_text().map_err(|()| "the state is not UTF-8").or_reject()?;
    let payload = context::payload_text().ok_or("the payload is not UTF-8").or_reject()?;
    let state = format!("{}\u{df}", state.unwrap_or_default());
    state::set_text(&state).map_err(|error| format!("{error:?}")).or_reject()?;
    let text = format!("{}|{}", payload.len(), state::get_text().ok().flatten().unwrap_or_default());
    effects::publish_text(subject, &[], &text, 0).map_err(|error| format!("{error:?}")).or_reject()?;
    effects::publish_text(subject, &[], "later", 7).map_err(|error| format!("{error:?}")).or_reject()
}

/// There is no such host outside of a plugin.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn all(_: &str) -> Verdict {
    Ok(())
}
