//! An authority that answers everything with 429, and asks for two hours of patience.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::authority::Papers;

const ANSWER: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7200\r\nContent-Type: text/plain\r\n\
    Content-Length: 12\r\nConnection: close\r\n\r\nnot so fast\n";

/// It answers as long as the process lives.
pub(super) struct Impatient {
    pub(super) directory: String,
    pub(super) papers: Papers,
}

impl Impatient {
    pub(super) fn start() -> Result<Self> {
        let papers = Papers::new("acme-impatient")?;
        let certificate = CertificateDer::from_pem_file(&papers.certificate).context("its certificate")?;
        let key = PrivateKeyDer::from_pem_file(&papers.key).context("its key")?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let directory = format!("https://{}/dir", listener.local_addr()?);
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever goes away meanwhile is none of its business.
                let _ = answer(stream, &config);
            }
        });
        Ok(Self { directory, papers })
    }
}

fn answer(stream: TcpStream, config: &Arc<ServerConfig>) -> Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config.clone())?, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    stream.write_all(ANSWER)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}
