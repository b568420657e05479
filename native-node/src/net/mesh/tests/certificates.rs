//! The mesh over TLS: who has a certificate of the authority is let in, who has another's is not.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;

/// Files of an authority and of a node that it knows, in a folder that goes with the value.
struct Files {
    folder: PathBuf,
    tls: Tls,
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn certificates(name: &str) -> Files {
    let folder = std::env::temp_dir().join(format!("glasshouse-mesh-{name}-{}", getrandom::u64().expect("entropy")));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let write = |file: &str, pem: String| -> PathBuf {
        let path = folder.join(file);
        std::fs::write(&path, pem).expect("a file");
        path
    };
    let tls = Tls {
        certificate: write("node.pem", certificate.pem()),
        key: write("node.key", key.serialize_pem()),
        authority: write("authority.pem", authority.pem()),
    };
    Files { folder, tls }
}

#[tokio::test]
async fn both_ends_show_a_certificate_of_the_authority() {
    let ours = certificates("ours");
    let (mut one, to_two, mut two, to_one) = linked_with(|config| config.tls = Some(ours.tls.clone())).await;
    converse(&mut one, to_two, &mut two, to_one).await;
    one.say(to_two, long_packet(3 * FRAGMENT));
    assert_eq!(two.hear(to_one).await, long_packet(3 * FRAGMENT));
}

#[tokio::test]
async fn another_authority_is_not_trusted_at_either_end() {
    let (ours, theirs) = (certificates("ours"), certificates("theirs"));
    let [(mut config, listener), (mut two, second)] = configure([ONE, TWO]).await;
    config.tls = Some(ours.tls.clone());
    two.tls = Some(ours.tls.clone());
    let mut one = Played::on(config, listener);
    for tls in [
        // The server's certificate is not the dialler's authority's; the dialler's is not the server's; there is none.
        Some(theirs.tls.clone()),
        Some(Tls { authority: ours.tls.authority.clone(), ..theirs.tls.clone() }),
        None,
    ] {
        let refused = greet(&MeshConfig { tls, ..two.clone() }, ONE).await.expect_err("it is no peer");
        assert!(matches!(refused, Refused::Gone(_)), "{refused}");
    }
    let mut two = Played::on(two, second);
    let (to_two, to_one) = (one.up(TWO, ChannelKind::Quorum).await, two.up(ONE, ChannelKind::Quorum).await);
    converse(&mut one, to_two, &mut two, to_one).await;
}

#[test]
fn files_that_are_no_certificates_are_refused_in_a_sentence() {
    let ours = certificates("ours");
    assert_eq!(ours.tls.check(), Ok(()));
    let mut missing = ours.tls.clone();
    missing.key = Path::new("nowhere/node.key").to_owned();
    let refused = tls::Ends::load(&missing).expect_err("no such file");
    assert!(refused.starts_with("nowhere/node.key: no private key could be read"), "{refused}");
    let mut mixed_up = ours.tls.clone();
    mixed_up.certificate = ours.tls.key.clone();
    let refused = tls::Ends::load(&mixed_up).expect_err("a key is no certificate");
    assert!(refused.ends_with("there is no certificate in it"), "{refused}");
    let theirs = certificates("theirs");
    let strangers = Tls { key: theirs.tls.key.clone(), ..ours.tls.clone() };
    let refused = strangers.check().expect_err("another's key");
    assert!(refused.contains("node.pem and ") && refused.lines().count() == 1, "{refused}");
}
