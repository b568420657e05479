//! A browser, through chromedriver: just enough of the WebDriver protocol over a plain socket, and a server for `dist/`.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Headless Chromium with one window; it closes with the value.
pub struct Browser {
    chromedriver: Child,
    port: u16,
    session: String,
}

impl Browser {
    pub fn open(width: u32, height: u32) -> Browser {
        let port = free_port();
        let driver = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into());
        let chromedriver = Command::new(&driver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|why| panic!("{driver}: {why}; `make setup-browser` gets it"));
        let mut browser = Browser { chromedriver, port, session: String::new() };
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--window-size={width},{height}"),
        ];
        let wish = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        until("chromedriver starts", || browser.try_call("GET", "/status", &Value::Null).map(drop));
        let session = browser.call("POST", "/session", &wish);
        browser.session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        browser
    }

    pub fn go(&self, address: &str) {
        self.call("POST", &format!("/session/{}/url", self.session), &json!({"url": address}));
    }

    /// Evaluates the body of a function in the page.
    pub fn script(&self, body: &str) -> Value {
        self.call("POST", &format!("/session/{}/execute/sync", self.session), &json!({"script": body, "args": []}))
    }

    /// The text of everything that a selector finds.
    pub fn text(&self, selector: &str) -> String {
        let body = format!("return [...document.querySelectorAll({selector:?})].map(e => e.textContent).join('|')");
        self.script(&body).as_str().unwrap_or_default().to_owned()
    }

    pub fn count(&self, selector: &str) -> u64 {
        self.script(&format!("return document.querySelectorAll({selector:?}).length")).as_u64().unwrap_or(0)
    }

    /// What everything that a selector finds is called for those who do not see it.
    pub fn labels(&self, selector: &str) -> Vec<String> {
        let body =
            format!("return [...document.querySelectorAll({selector:?})].map(e => e.getAttribute('aria-label') ?? '')");
        let found = self.script(&body);
        found.as_array().into_iter().flatten().filter_map(|label| Some(label.as_str()?.to_owned())).collect()
    }

    /// Clicks the first thing that a selector finds.
    pub fn click(&self, selector: &str) {
        self.click_first(selector, "e => true", "");
    }

    /// Clicks the first thing that a selector finds and that has this text.
    pub fn click_word(&self, selector: &str, word: &str) {
        self.click_first(selector, &format!("e => e.textContent.trim() === {word:?}"), word);
    }

    fn click_first(&self, selector: &str, which: &str, word: &str) {
        let body = format!(
            "const e = [...document.querySelectorAll({selector:?})].find({which}); if (!e || e.disabled) return false;
             e.dispatchEvent(new MouseEvent('click', {{bubbles: true}})); return true"
        );
        assert_eq!(self.script(&body), true, "there is no {selector} {word} to click");
    }

    /// Presses a key of the page.
    pub fn press(&self, key: &str) {
        self.script(&format!("window.dispatchEvent(new KeyboardEvent('keydown', {{key: {key:?}, bubbles: true}}))"));
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|| panic!("chromedriver does not answer {method} {path}"))
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
        write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
        let (mut reader, mut length, mut line) = (BufReader::new(stream), 0, String::new());
        while reader.read_line(&mut line).ok()? > 2 {
            if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().ok()?;
            }
            line.clear();
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        assert!(answer["value"]["error"].is_null(), "{method} {path}: {}", answer["value"]);
        Some(answer["value"].clone())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.try_call("DELETE", &format!("/session/{}", self.session), &Value::Null);
            }));
        }
        let _ = self.chromedriver.kill();
        let _ = self.chromedriver.wait();
    }
}

/// Asks again and again, for at most half a minute, until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> (T, Duration) {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return (answer, began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        sleep(Duration::from_millis(50));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Serves a folder on a free port for as long as the process lives, and returns the address.
pub fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(stream, &folder));
        }
    });
    format!("http://127.0.0.1:{port}/")
}

fn answer(mut stream: TcpStream, folder: &Path) -> Option<()> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.split(['?', '#']).next()?.trim_start_matches('/').to_owned();
    while reader.read_line(&mut line).ok()? > 2 {}
    let path = if path.is_empty() { "index.html".to_owned() } else { path };
    let kind = match path.rsplit('.').next()? {
        "html" => "text/html",
        "js" => "text/javascript",
        "css" => "text/css",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    };
    let found = (!path.contains("..")).then(|| std::fs::read(folder.join(&path)).ok()).flatten();
    let (status, body) = found.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
