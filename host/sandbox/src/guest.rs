//! The host's answers to a plugin: `wit/`'s imports over one store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::bindings::heddle::plugin::{config, context, effects, log, state, types};
use super::bounded::GaveWay;
use super::capture::Lines;
use super::http::{Calls, Client};
use super::limiter::{Breached, Limiter};
use super::wasi_environment::WasiEnvironment;
use super::{Call, Error, LogLevel, Outside, Policy};
use heddle_values::causality;
use heddle_values::effects::{Draft, Message, Refusal, StateChange, When};
use heddle_values::event::{Event, Headers};
use heddle_values::limit::{Breach, Limit};
use heddle_values::names::REPLY_TO;
use heddle_values::settings::Grants;

/// The interval at which the engine checks what runs.
pub(super) const TICK: Duration = Duration::from_millis(2);

/// Handles that one instance may hold.
const MAX_RESOURCES: usize = 1_000;

/// The error for a handler that wants to send a request and wait for the answer.
pub(super) const NO_REQUEST: &str = "Heddle has no request and reply inside a handler; publish a message, and take the answer as an event of its own";

/// Whether all that a plugin can depend on outside is asked for over HTTP.
fn is_seen(grants: &Grants) -> bool {
    !grants.http.hosts.is_empty() && grants.files.is_empty()
}

/// What one store holds.
pub(super) struct Guest {
    policy: Arc<Policy>,
    call: Option<Call>,
    draft: Draft,
    /// Ticks of run time that are used up.
    pub(super) ticks: u32,
    /// Calls of the host's functions, as the contract has them.
    calls: u64,
    pub(super) gave_way: GaveWay,
    pub(super) limiter: Limiter,
    pub(super) lines: Lines,
    environment: WasiEnvironment,
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(super) calls_out: Calls,
}

impl Guest {
    /// For an instance whose first event has this `hash_seed`.
    pub(super) fn new(policy: Arc<Policy>, client: Arc<Client>, hash_seed: u128) -> Result<Self, Error> {
        let lines = Lines::default();
        let environment = WasiEnvironment::new();
        let wasi = environment.context(&lines, &policy.grants, hash_seed)?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Ok(Guest {
            call: None,
            draft: Draft::default(),
            ticks: 0,
            calls: 0,
            gave_way: GaveWay::default(),
            limiter: Limiter::new(policy.limits.memory),
            calls_out: Calls::new(client, lines.clone()),
            lines,
            environment,
            table,
            wasi,
            http: WasiHttpCtx::new(),
            policy,
        })
    }

    /// Begins a run. Everything of the one before is forgotten.
    pub(super) fn begin(&mut self, call: Call, gave_way: GaveWay) {
        self.environment.begin(&call.event, &self.policy.handler);
        self.ticks = 0;
        self.calls = 0;
        self.gave_way = gave_way;
        self.calls_out.begin();
        self.draft = Draft::default();
        self.call = Some(call);
    }

    /// Ends a run and takes its effects.
    pub(super) fn end(&mut self) -> Draft {
        self.call = None;
        std::mem::take(&mut self.draft)
    }

    /// What it runs under.
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the run came to know of the outside. Only requests over HTTP are seen.
    pub(super) fn outside(&self) -> Outside {
        if is_seen(&self.policy.grants) { self.calls_out.traffic.outside() } else { Outside::Unseen }
    }

    /// What a run that waited for too long came to know of the outside.
    pub(super) fn waited_for(grants: &Grants) -> Outside {
        if is_seen(grants) { Outside::Failed } else { Outside::Unseen }
    }

    /// Run time that is used up.
    pub(super) fn used(&self) -> Duration {
        TICK.saturating_mul(self.ticks)
    }

    /// Ticks that a run may use: at least two, for the first one is a part.
    pub(super) fn allowed_ticks(&self) -> u32 {
        let ticks = self.policy.limits.time.as_nanos().div_ceil(TICK.as_nanos());
        u32::try_from(ticks).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Counts a call.
    pub(super) fn count(&mut self) -> wasmtime::Result<()> {
        self.calls += 1;
        let allowed = self.policy.limits.host_calls;
        if self.calls > allowed {
            let breach = Breach { limit: Limit::HostCalls, allowed, used: Some(self.calls) };
            return Err(Breached(breach).into());
        }
        Ok(())
    }

    /// The run that has begun, for whoever began it.
    pub(super) fn running(&self) -> &Call {
        self.call.as_ref().expect("an event is handed over only in a run")
    }

    /// What runs now. A plugin that calls while an instance is made gets a trap.
    pub(super) fn call(&mut self) -> wasmtime::Result<&Call> {
        self.count()?;
        self.call
            .as_ref()
            .ok_or_else(|| wasmtime::Error::msg("imports may not be called before the first event"))
    }

    pub(super) fn event(&mut self) -> wasmtime::Result<&Arc<Event>> {
        Ok(&self.call()?.event)
    }

    fn publish(&mut self, message: types::Message, when: When) -> Answer {
        self.call()?;
        let message = Message {
            subject: message.subject.into(),
            headers: headers(message.headers),
            payload: message.payload.into(),
        };
        Ok(self.draft.publish(message, when, &self.policy.allowance).map_err(refusal))
    }

    /// Takes a message of a world without a word for answers: on the inbox of the event's publisher it is the answer.
    pub(super) fn send(&mut self, event: &Event, message: Message) -> Result<(), Refusal> {
        if event.header(REPLY_TO) == Some(&*message.subject) {
            return self.answer(event, message.headers, message.payload);
        }
        self.draft.publish(message, When::Now, &self.policy.allowance)
    }

    /// Takes an answer to the event's publisher.
    pub(super) fn answer(&mut self, event: &Event, headers: Headers, payload: Bytes) -> Result<(), Refusal> {
        self.draft.reply(event.header(REPLY_TO), headers, payload, &self.policy.allowance)
    }

    /// Refuses what cannot be an effect at all.
    pub(super) fn refuse(&mut self, why: impl Into<String>) -> Refusal {
        self.draft.refuse(why.into())
    }

    /// Gives the plugin a handle.
    pub(super) fn keep<T: Send + 'static>(&mut self, entry: T) -> wasmtime::Result<Resource<T>> {
        self.table.push(entry).map_err(|error| match error {
            ResourceTableError::Full => {
                wasmtime::Error::msg(format!("plugin holds {MAX_RESOURCES} handles, the most there may be"))
            }
            error => error.into(),
        })
    }
}

type Answer = wasmtime::Result<Result<(), types::EffectError>>;

fn headers(headers: Vec<types::Header>) -> Headers {
    Headers::from_pairs(headers.into_iter().map(|header| (header.name, header.value)))
}

fn refusal(refusal: Refusal) -> types::EffectError {
    match refusal {
        Refusal::NotGranted(_) => types::EffectError::NotGranted(refusal.to_string()),
        Refusal::Invalid(text) => types::EffectError::Invalid(text),
        Refusal::TooLarge(breach) => types::EffectError::TooLarge(breach.allowed),
        Refusal::TooMany(breach) => {
            types::EffectError::TooMany(u32::try_from(breach.allowed).unwrap_or(u32::MAX))
        }
    }
}

/// The event in the contract's form.
pub(super) fn lower(call: &Call) -> types::Event {
    let event = &call.event;
    const NANOS: u64 = 1_000_000_000;
    let nanoseconds = u32::try_from(event.time % NANOS).expect("a remainder of a billion fits");
    let header =
        |(name, value): (&str, &str)| types::Header { name: name.to_owned(), value: value.to_owned() };
    types::Event {
        id: event.id(),
        subject: event.subject.to_string(),
        key: call.key.as_str().to_owned(),
        time: types::Instant { seconds: event.time / NANOS, nanoseconds },
        headers: event.headers.iter().map(header).collect(),
        payload: event.payload.to_vec(),
    }
}

impl effects::Host for Guest {
    fn publish(&mut self, m: types::Message) -> Answer {
        self.publish(m, When::Now)
    }

    fn publish_after(&mut self, m: types::Message, delay_seconds: u32) -> Answer {
        let when = if delay_seconds == 0 { When::Now } else { When::After(delay_seconds) };
        self.publish(m, when)
    }

    fn publish_text(
        &mut self,
        subject: String,
        headers: Vec<types::Header>,
        payload: String,
        delay_seconds: u32,
    ) -> Answer {
        effects::Host::publish_after(
            self,
            types::Message { subject, headers, payload: payload.into() },
            delay_seconds,
        )
    }

    fn reply(&mut self, reply_headers: Vec<types::Header>, payload: Vec<u8>) -> Answer {
        let event = Arc::clone(self.event()?);
        Ok(self.answer(&event, headers(reply_headers), payload.into()).map_err(refusal))
    }
}

impl state::Host for Guest {
    fn get(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        let stored = self.call()?.state.clone();
        Ok(match self.draft.state() {
            StateChange::Keep => stored.map(|value| value.to_vec()),
            StateChange::Set(value) => Some(value.to_vec()),
            StateChange::Clear => None,
        })
    }

    fn set(&mut self, value: Vec<u8>) -> Answer {
        self.call()?;
        Ok(self.draft.set_state(Bytes::from(value), &self.policy.allowance).map_err(refusal))
    }

    fn get_text(&mut self) -> wasmtime::Result<Result<Option<String>, ()>> {
        let value = state::Host::get(self)?;
        Ok(value.map(String::from_utf8).transpose().map_err(drop))
    }

    fn set_text(&mut self, value: String) -> Answer {
        state::Host::set(self, value.into())
    }

    fn clear(&mut self) -> wasmtime::Result<()> {
        self.call()?;
        self.draft.clear_state();
        Ok(())
    }
}

impl context::Host for Guest {
    fn payload_text(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(std::str::from_utf8(&self.event()?.payload).ok().map(str::to_owned))
    }

    fn attempt(&mut self) -> wasmtime::Result<u32> {
        Ok(self.call()?.attempt)
    }

    fn stream(&mut self) -> wasmtime::Result<String> {
        Ok(self.event()?.stream.to_string())
    }

    fn sequence(&mut self) -> wasmtime::Result<u64> {
        Ok(self.event()?.sequence)
    }

    fn handler(&mut self) -> wasmtime::Result<String> {
        self.count()?;
        Ok(self.policy.handler.to_string())
    }

    fn correlation(&mut self) -> wasmtime::Result<String> {
        Ok(causality::correlation(self.event()?))
    }

    fn deadline_ms(&mut self) -> wasmtime::Result<u32> {
        self.count()?;
        let left = self.policy.limits.time.saturating_sub(self.used());
        Ok(u32::try_from(left.as_millis()).unwrap_or(u32::MAX))
    }
}

impl config::Host for Guest {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        self.count()?;
        Ok(self.policy.config.get(&name).map(|value| value.reveal().to_owned()))
    }
}

impl log::Host for Guest {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.count()?;
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.lines.log(level, &message);
        Ok(())
    }
}

impl types::Host for Guest {}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.calls_out, table: &mut self.table, ctx: &mut self.http }
    }
}
