//! TLS for the mesh: both ends show a certificate, and both check that the authority has signed the other's. Whether
//! the peer belongs to the cluster is still the greeting's question.

use super::Tls;
use super::wire::Bare;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// What a node needs to dial and to be dialled.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    dials: Arc<ClientConfig>,
    accepts: Arc<ServerConfig>,
}

impl Ends {
    /// Reads the files.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub(super) fn load(files: &Tls) -> Result<Ends, String> {
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| format!("{}: no private key could be read: {error}", files.key.display()))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.authority)? {
            let refused = |error| format!("{}: not an authority's certificate: {error}", files.authority.display());
            roots.add(authority).map_err(refused)?;
        }
        let unusable = |error| format!("{} and {}: {error}", files.certificate.display(), files.key.display());
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| format!("{}: {error}", files.authority.display()))?;
        let accepts = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(unusable)?;
        let dials = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(unusable)?;
        Ok(Ends { dials: Arc::new(dials), accepts: Arc::new(accepts) })
    }

    /// The handshake of who dialled `host`: a name, or an address, that the peer's certificate has to be for.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Bare> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(self.dials.clone()).connect(name, stream).await?;
        Ok(Bare::Tls(Box::new(TlsStream::Client(stream))))
    }

    /// The handshake of who was dialled.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Bare> {
        let stream = TlsAcceptor::from(self.accepts.clone()).accept(stream).await?;
        Ok(Bare::Tls(Box::new(TlsStream::Server(stream))))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error| format!("{}: no certificate could be read: {error}", file.display());
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(unreadable)?.collect();
    let all = all.map_err(unreadable)?;
    if all.is_empty() {
        return Err(format!("{}: there is no certificate in it", file.display()));
    }
    Ok(all)
}
