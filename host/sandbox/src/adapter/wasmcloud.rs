//! Handlers written for `wasmcloud:messaging`: a subject, a body and perhaps a subject for the answer.

use std::sync::Arc;

use wasmtime::Store;

use self::wasmcloud::messaging::{consumer, types};
use super::GivenUp;
use crate::guest::{Guest, NO_REQUEST};
use heddle_values::effects::{Message, Refusal};
use heddle_values::event::Headers;
use heddle_values::names::REPLY_TO;

wasmtime::component::bindgen!({
    path: "wit/wasmcloud-messaging",
    inline: "
        package heddle:adapter;

        world wasmcloud {
            import wasmcloud:messaging/consumer@0.2.0;
            export wasmcloud:messaging/handler@0.2.0;
        }
    ",
    world: "heddle:adapter/wasmcloud",
    imports: { default: trappable },
    exports: { default: async },
});

/// Hands a handler the event of the run.
pub(super) async fn handle(
    handler: &Wasmcloud,
    store: &mut Store<Guest>,
) -> wasmtime::Result<Result<(), GivenUp>> {
    let event = &store.data().running().event;
    let message = types::BrokerMessage {
        subject: event.subject.to_string(),
        body: event.payload.to_vec(),
        reply_to: event.header(REPLY_TO).map(str::to_owned),
    };
    let answer = handler.wasmcloud_messaging_handler().call_handle_message(store, &message).await?;
    Ok(answer.map_err(GivenUp::Failed))
}

fn text(refusal: Refusal) -> String {
    refusal.to_string()
}

impl consumer::Host for Guest {
    fn request(
        &mut self,
        subject: String,
        _body: Vec<u8>,
        _timeout_ms: u32,
    ) -> wasmtime::Result<Result<types::BrokerMessage, String>> {
        self.call()?;
        Ok(Err(text(self.refuse(format!("no request to `{subject}`: {NO_REQUEST}")))))
    }

    fn publish(&mut self, message: types::BrokerMessage) -> wasmtime::Result<Result<(), String>> {
        let event = Arc::clone(self.event()?);
        if let Some(inbox) = message.reply_to.filter(|inbox| !inbox.is_empty()) {
            let refusal = self.refuse(format!("no reply on `{inbox}` can be asked for: {NO_REQUEST}"));
            return Ok(Err(text(refusal)));
        }
        let (subject, payload) = (message.subject.into(), message.body.into());
        Ok(self.send(&event, Message { subject, headers: Headers::default(), payload }).map_err(text))
    }
}

impl types::Host for Guest {}
