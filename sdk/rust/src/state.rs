//! One value for each key of this handler.
//!
//! It is stored in the same commit as the effects, so it never disagrees with what was published. Events of a
//! key run one at a time, so reading and then writing needs no lock. Its size is bounded by `limits.state`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::effects::{EffectError, Refusal};
use crate::{DecodeError, Failure, host};

/// The value left by the last event of this key, or what this event has set, read as JSON.
///
/// # Errors
/// The value is not JSON, or not what `T` asks for.
pub fn get<T: DeserializeOwned>() -> Result<Option<T>, DecodeError> {
    let Some(bytes) = host::state() else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|cause| DecodeError::new("state", cause))
}

/// Replaces the value, written as JSON.
///
/// # Errors
/// The value is larger than `limits.state`, or cannot be written as JSON.
pub fn set<T: Serialize + ?Sized>(value: &T) -> Result<(), EffectError> {
    match serde_json::to_vec(value) {
        Ok(bytes) => set_bytes(&bytes),
        Err(error) => Err(EffectError::new("state", Refusal::not_json(&error))),
    }
}

/// Reads the value, or takes the default if there is none, lets `change` alter it, and sets it. Answers with
/// what `change` answers.
///
/// ```
/// # use heddle_sdk::{Event, Verdict, publish, state};
/// fn count(event: &Event) -> Verdict {
///     let n = state::update(|n: &mut u64| { *n += 1; *n })?;
///     publish(format!("count.{}", event.key()), &n)?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// What [`get`] and [`set`] refuse, as a reject.
pub fn update<T, R>(change: impl FnOnce(&mut T) -> R) -> Result<R, Failure>
where
    T: Default + DeserializeOwned + Serialize,
{
    let mut value: T = get()?.unwrap_or_default();
    let answer = change(&mut value);
    set(&value)?;
    Ok(answer)
}

/// Removes the value: [`get`] gives none from now on. A key without a value costs nothing.
pub fn clear() {
    host::clear_state();
}

/// The value as it was stored.
#[must_use]
pub fn get_bytes() -> Option<Vec<u8>> {
    host::state()
}

/// Replaces the value.
///
/// # Errors
/// The value is larger than `limits.state`.
pub fn set_bytes(value: &[u8]) -> Result<(), EffectError> {
    host::set_state(value).map_err(|refusal| EffectError::new("state", refusal))
}
