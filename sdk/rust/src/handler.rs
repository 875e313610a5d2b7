//! How a function or a type becomes the handler of a plugin.

use crate::{Event, Failure, Verdict};

/// A handler that prepares something once and uses it for many events, such as settings that are dear to
/// read.
///
/// A plain function is enough for most handlers. Under `instances = "fresh"` an instance sees one event and
/// this trait gains nothing; under `reuse` it saves making the value again.
///
/// ```
/// use heddle_sdk::{Event, Failure, Handler, Verdict, config, publish};
///
/// struct Credit {
///     limit: u64,
/// }
///
/// impl Handler for Credit {
///     fn new() -> Result<Self, Failure> {
///         Ok(Self { limit: config::parse("limit")?.unwrap_or(1000) })
///     }
///
///     fn handle(&self, event: &Event) -> Verdict {
///         publish(format!("credit.limit.{}", event.key()), &self.limit)?;
///         Ok(())
///     }
/// }
///
/// heddle_sdk::handler!(type Credit);
/// ```
pub trait Handler: Sized + 'static {
    /// Called before the first event of an instance. It should read the config only: what it takes from the
    /// first event would leak into the later ones. If it fails, the event fails, and the next event calls it
    /// again.
    ///
    /// # Errors
    /// Any failure: it becomes the verdict of the event that was about to be handled.
    fn new() -> Result<Self, Failure>;

    /// Called for each event. What must outlive the event belongs into [`state`](crate::state): an instance
    /// may be replaced at any time, and another instance may run the next event of the same key.
    ///
    /// # Errors
    /// The failure says what becomes of the event.
    fn handle(&self, event: &Event) -> Verdict;
}

/// Makes a function or a type the handler of this plugin. To be used once in a crate.
///
/// `handler!(credit)` takes a `fn(&Event) -> Verdict`. `handler!(type Credit)` takes a type that implements
/// [`Handler`]. On other targets than `wasm32` it only checks that the types fit.
#[macro_export]
macro_rules! handler {
    (type $handler:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: ::std::cell::OnceCell<$handler> = const { ::std::cell::OnceCell::new() };
            }

            fn handle(event: &$crate::Event) -> $crate::Verdict {
                INSTANCE.with(|slot| $crate::Handler::handle($crate::__private::instance(slot)?, event))
            }

            $crate::handler!(handle);
        };
        #[cfg(not(target_arch = "wasm32"))]
        $crate::handler!($crate::testing::fresh::<$handler>);
    };
    ($handle:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::__private::bindings;

            struct Plugin;

            impl bindings::exports::heddle::plugin::handler::Guest for Plugin {
                fn handle(
                    event: bindings::heddle::plugin::types::Event,
                ) -> ::std::result::Result<(), bindings::heddle::plugin::types::Failure> {
                    $crate::__private::answer(event, $handle)
                }
            }

            bindings::export! { Plugin with_types_in bindings }
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&$crate::Event) -> $crate::Verdict = $handle;
    };
}

/// The handler of this instance, made if it is not there yet.
#[cfg(target_arch = "wasm32")]
pub fn instance<H: Handler>(slot: &std::cell::OnceCell<H>) -> Result<&H, Failure> {
    if let Some(handler) = slot.get() {
        return Ok(handler);
    }
    let handler = H::new()?;
    Ok(slot.get_or_init(|| handler))
}
