//! Tells the sender that a parcel is ready.

use heddle_sdk::{Event, Message, Verdict};
use serde::Deserialize;

#[derive(Deserialize)]
struct Ready {
    parcel: String,
    label: String,
}

fn handle(event: &Event) -> Verdict {
    let Ready { parcel, label } = event.json()?;
    let text = format!("Parcel {parcel} is ready: {label}");
    Message::text(format!("notice.sent.{}", event.key()), text).publish()?;
    Ok(())
}

heddle_sdk::handler!(handle);

#[cfg(test)]
mod tests {
    use heddle_sdk::testing;

    use super::*;

    #[test]
    fn the_notice_names_parcel_and_label() {
        let mut notice = testing::handler(handle).key("{subject.2}").publishes(["notice.sent.*"]);
        let run = notice.run(testing::event("parcel.ready.p1").text(r#"{"parcel":"p1","label":"HD-P1-30","steps":5}"#));
        assert_eq!(run.done().message("notice.sent.p1").text(), "Parcel p1 is ready: HD-P1-30");
    }
}
