//! Trust: whether a handler may run a component, by what its source names and who has signed it.
//!
//! Promises that once `trust` is set, what is remembered of who has signed a version is not believed: its signature is
//! verified again before it runs. Which version is live and the lowest release that is accepted are believed as they are
//! remembered: whoever can write the application's internal subjects can lower them.

use std::sync::Arc;

use super::Refusal;
use super::offer::Offer;
use heddle_source::signature;
use heddle_values::claims::{Claims, Release};
use heddle_values::plugin::PluginSource;
use heddle_values::rollout::{Found, Version};
use heddle_values::settings::{HandlerSettings, Trust};

/// What a handler demands of whatever it runs.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    handler: Arc<str>,
    source: PluginSource,
    trust: Trust,
}

/// A signature that holds, and is for this handler.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vouched {
    pub(super) by: String,
    pub(super) release: Release,
}

impl Demand {
    pub(super) fn of(handler: &HandlerSettings, trust: &Trust) -> Self {
        Demand { handler: Arc::clone(&handler.name), source: handler.plugin.clone(), trust: trust.clone() }
    }

    /// Whether an offer is what the file names, signed by a trusted key, for this handler, and not older than
    /// what was `accepted`. What the file names by its digest may be older: an operator wants just that. None: it need not be
    /// signed.
    pub(super) fn verify(
        &self,
        offer: &Offer,
        digest: &str,
        accepted: &Release,
    ) -> Result<Option<Vouched>, Refusal> {
        if let Some(wanted) = self.source.digest.as_deref().filter(|wanted| *wanted != digest) {
            return Err(Refusal::Digest { found: digest.to_owned(), wanted: wanted.to_owned() });
        }
        if let (Err(signature::Error::Unreadable(reason)), false) =
            (&offer.signature, self.trust.keys.is_empty())
        {
            return Err(signature::Error::Unreadable(reason.clone()).into());
        }
        let vouched = self.vouched(&offer.wasm, offer.signature())?;
        if let Some(vouched) = vouched.as_ref().filter(|_| !self.source.is_pinned()) {
            vouched.release.check_newer(accepted, &self.handler)?;
        }
        Ok(vouched)
    }

    /// Whether a version that is remembered may run. It may be older than others: it was accepted, or an operator chose it.
    pub(super) fn verify_again(&self, wasm: &[u8], version: &Version) -> Result<Option<Vouched>, Refusal> {
        self.vouched(wasm, version.signature.as_deref())
    }

    fn vouched(&self, wasm: &[u8], signature: Option<&str>) -> Result<Option<Vouched>, Refusal> {
        let Some(signed) = signature::verify(wasm, signature, &self.trust.keys)? else { return Ok(None) };
        let claims = Claims::parse(&signed.comment)?;
        claims.check(&self.handler, self.trust.named)?;
        Ok(Some(Vouched { by: signed.by, release: claims.release }))
    }
}

/// Notes who vouches for a version, and what can be verified again.
pub(super) fn note(found: &mut Found, signature: Option<&str>, vouched: Option<Vouched>) {
    found.signature = signature.filter(|text| text.len() <= signature::MAX_TEXT).map(str::to_owned);
    if let Some(Vouched { by, release }) = vouched {
        (found.signed_by, found.release) = (Some(by), Some(release));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;

    use super::*;
    use heddle_values::rollout::{Rollout, Stage};

    const DIGEST: &str = "sha256:any";

    fn keys() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().unwrap()
    }

    fn signed(keys: &KeyPair, wasm: &str, comment: &str) -> Offer {
        let text = minisign::sign(Some(&keys.pk), &keys.sk, Cursor::new(wasm), Some(comment), None).unwrap();
        Offer { wasm: wasm.as_bytes().to_vec(), signature: Ok(Some(text.into_string())) }
    }

    fn demand(handler: &str, keys: &KeyPair) -> Demand {
        let trust = Trust { keys: vec![keys.pk.to_base64()], named: false };
        Demand { handler: handler.into(), source: PluginSource::file("x.wasm"), trust }
    }

    fn release(comment: &str) -> Release {
        Claims::parse(comment).unwrap().release
    }

    #[test]
    fn a_component_that_was_signed_for_another_handler_is_refused() {
        let keys = keys();
        let offer = signed(&keys, "wasm", "handler:credit version:1.0.0");
        let verify = |handler| demand(handler, &keys).verify(&offer, DIGEST, &Release::default());
        let vouched = verify("credit").unwrap().unwrap();
        assert_eq!((vouched.by, vouched.release), (keys.pk.to_base64(), release("version:1.0.0")));
        assert!(matches!(verify("gift"), Err(Refusal::Claims(_))));
    }

    #[test]
    fn an_older_component_is_refused_unless_the_file_names_its_digest() {
        let keys = keys();
        let mut demand = demand("credit", &keys);
        let offer = signed(&keys, "wasm", "version:1.3.0");
        assert!(demand.verify(&offer, DIGEST, &release("version:1.3.0")).is_ok());
        let refusal = demand.verify(&offer, DIGEST, &release("version:1.4.0")).unwrap_err().to_string();
        assert!(refusal.contains("older than version 1.4.0"), "{refusal}");
        demand.source.digest = Some(DIGEST.into());
        assert!(demand.verify(&offer, DIGEST, &release("version:1.4.0")).is_ok());
        demand.source.digest = Some("sha256:other".into());
        let other = demand.verify(&offer, DIGEST, &Release::default());
        assert!(matches!(other, Err(Refusal::Digest { .. })));
    }

    #[test]
    fn minisigns_own_timestamp_keeps_older_components_out_too() {
        let keys = keys();
        let demand = demand("credit", &keys);
        let offer = signed(&keys, "wasm", "timestamp:100\tfile:credit.wasm");
        assert!(demand.verify(&offer, DIGEST, &release("timestamp:100")).is_ok());
        assert!(demand.verify(&offer, DIGEST, &release("timestamp:101")).is_err());
    }

    #[test]
    fn nobody_can_change_what_a_signature_says() {
        let keys = keys();
        let mut offer = signed(&keys, "wasm", "handler:credit version:1.0.0");
        let text = offer.signature().expect("it is signed").replace("version:1.0.0", "version:9.0.0");
        offer.signature = Ok(Some(text));
        let forged = demand("credit", &keys).verify(&offer, DIGEST, &Release::default());
        assert!(matches!(forged, Err(Refusal::Signature(signature::Error::Wrong))), "{forged:?}");
    }

    #[test]
    fn a_signature_can_be_made_to_name_handler_and_version() {
        let keys = keys();
        let mut demand = demand("credit", &keys);
        demand.trust.named = true;
        for (comment, sound) in [
            ("handler:credit version:1.0.0", true),
            ("handler:credit", false),
            ("version:1.0.0", false),
            ("timestamp:100", false),
        ] {
            let offer = signed(&keys, "wasm", comment);
            let verified = demand.verify(&offer, DIGEST, &Release::default());
            assert_eq!(verified.is_ok(), sound, "{comment}");
        }
    }

    fn text(offer: Offer) -> Option<String> {
        offer.signature.expect("it can be read")
    }

    #[test]
    fn what_stands_in_the_place_of_a_signature_matters_only_where_somebody_is_trusted() {
        let keys = keys();
        let unreadable = || signature::Error::Unreadable("`a.minisig` is a folder".to_owned());
        let offer = Offer { signature: Err(unreadable()), ..signed(&keys, "wasm", "") };
        let refused = demand("credit", &keys).verify(&offer, DIGEST, &Release::default()).unwrap_err();
        assert!(refused.to_string().contains("is a folder"), "{refused}");
        let nobody = Demand { trust: Trust::default(), ..demand("credit", &keys) };
        assert_eq!(nobody.verify(&offer, DIGEST, &Release::default()).unwrap(), None);
    }

    #[test]
    fn what_is_remembered_of_a_version_is_verified_again_and_not_believed() {
        let (ours, other) = (keys(), keys());
        let demand = demand("credit", &ours);
        let remembered = |signature: Option<String>| {
            let mut rollout = Rollout::default();
            let mut found = Found { digest: DIGEST.to_owned(), ..Found::default() };
            // Whoever writes into the stream can write that.
            found.signed_by = Some(ours.pk.to_base64());
            note(&mut found, signature.as_deref(), None);
            rollout.enter(&found, Stage::Live, None, 0);
            rollout.version(DIGEST).unwrap().clone()
        };
        let sound = remembered(text(signed(&ours, "wasm", "version:1.0.0")));
        assert!(demand.verify_again(b"wasm", &sound).is_ok());
        assert!(demand.verify_again(b"wasn", &sound).is_err());
        for signature in [None, text(signed(&other, "wasm", "")), text(signed(&ours, "wasm", "handler:gift"))]
        {
            assert!(demand.verify_again(b"wasm", &remembered(signature)).is_err());
        }
        // A version from before `trust` was set has a signature that can be verified now.
        let nobody = Demand { trust: Trust::default(), ..demand.clone() };
        let offer = signed(&ours, "wasm", "version:1.0.0");
        assert_eq!(nobody.verify(&offer, DIGEST, &Release::default()).unwrap(), None);
        let before = Version { signed_by: None, ..remembered(text(offer)) };
        assert!(demand.verify_again(b"wasm", &before).is_ok());
    }

    #[test]
    fn a_signature_of_any_length_is_not_remembered() {
        let mut found = Found::default();
        note(&mut found, Some(&"x".repeat(signature::MAX_TEXT + 1)), None);
        assert_eq!(found.signature, None);
    }
}
