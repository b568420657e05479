//! The shell: lines with history and completion of commands and paths. The session lives on a thread of its own, so that
//! it is kept alive while somebody thinks.

use super::{Op, ops};
use crate::cli::reach::{self, Reach};
use crate::cli::term::{Out, complain, plain};
use crate::client::keeper::{Event, Session};
use crate::config::Usage;
use anyhow::Result;
use clap::{CommandFactory, Parser};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A line of the shell.
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_help_flag = true, override_usage = "COMMAND [PATH] …")]
struct Line {
    #[command(subcommand)]
    op: Op,
}

/// Reads lines until the end of input, `quit`, or Ctrl-D.
///
/// # Errors
/// No session comes about. What fails in the shell is told there.
pub fn run(reach: &Reach) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let session = runtime.block_on(reach.session())?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let driver = std::thread::spawn(move || {
        let _either_way = runtime.block_on(stopped);
    });
    let outcome = read_lines(reach, &session, &handle);
    handle.block_on(session.close());
    let _gone = stop.send(());
    let _joined = driver.join();
    outcome
}

fn read_lines(reach: &Reach, session: &Session, handle: &Handle) -> Result<ExitCode> {
    // As in other shells: what fits is listed, and a second Tab takes nothing back.
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<Words, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Words { session: session.clone(), handle: handle.clone() }));
    let history = history_file();
    if let Some(file) = &history {
        let _none_yet = editor.load_history(file);
    }
    // Without a terminal there is nothing to print around.
    if let Ok(printer) = editor.create_external_printer() {
        handle.spawn(tell(session.events(), printer));
    }
    // A person ends with what came last, a script with what went wrong first.
    let script = !std::io::stdin().is_terminal();
    let mut ends_with = 0;
    loop {
        match editor.readline("zk> ") {
            Ok(line) => {
                let _best_effort = editor.add_history_entry(&line);
                let code = match words(&line) {
                    Err(why) => failed(&Usage(why).into(), &mut Out::new(reach.json))?,
                    Ok(words) if words.is_empty() => continue,
                    Ok(words) if matches!(&*words[0], "quit" | "exit") => break,
                    Ok(words) => carry_out(reach, session, handle, words)?,
                };
                if !script || ends_with == 0 {
                    ends_with = code;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            // One line of a script, which is passed over like any other that makes no sense.
            Err(ReadlineError::Io(error)) if script && error.kind() == std::io::ErrorKind::InvalidData => {
                complain(format_args!("a line is not UTF-8"));
                if ends_with == 0 {
                    ends_with = 2;
                }
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(file) = &history {
        let _best_effort = file.parent().map(std::fs::create_dir_all);
        let _best_effort = editor.save_history(file);
    }
    Ok(ExitCode::from(ends_with))
}

/// One command; the exit code that it alone would have. A failure is told.
fn carry_out(reach: &Reach, session: &Session, handle: &Handle, words: Vec<String>) -> Result<u8> {
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => {
            if error.use_stderr() {
                let error = Usage(crate::cli::one_sentence(&error)).into();
                return failed(&error, &mut Out::new(reach.json));
            }
            crate::cli::term::print(&error.to_string())?;
            return Ok(0);
        }
    };
    let mut out = Out::new(reach.json);
    let done = handle.block_on(async {
        tokio::select! {
            done = ops::run(session, &line.op, &mut out) => done,
            // Ends a watch, not the shell.
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    out.flush()?;
    match done {
        Ok(()) => Ok(0),
        Err(error) => failed(&error, &mut out),
    }
}

/// Tells what a command failed with, and gives the exit code that it alone would have.
fn failed(error: &anyhow::Error, out: &mut Out) -> Result<u8> {
    out.item(&reach::as_json(error))?;
    out.flush()?;
    let told = error.downcast_ref().map_or_else(|| plain(&format!("{error:#}")), reach::told);
    complain(format_args!("{told}"));
    Ok(reach::exit_code(error))
}

/// Prints what happens while a line is being written.
async fn tell(mut events: tokio::sync::broadcast::Receiver<Event>, mut printer: impl ExternalPrinter) {
    loop {
        let line = match events.recv().await {
            Ok(Event::Watch { kind, path }) => format!("{} {}\n", ops::event_name(kind), plain(&path)),
            Ok(Event::Disconnected) => "the connection is lost; another keeper is tried\n".to_owned(),
            Ok(Event::Connected { .. }) => "connected again\n".to_owned(),
            Ok(Event::Expired { .. }) => {
                "the session is gone, and its ephemeral nodes; quit and come again\n".to_owned()
            }
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        if printer.print(line).is_err() {
            return;
        }
    }
}

fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    Some(state.or_else(home)?.join("glasshouse/zk_history"))
}

/// A line's words: quotes keep spaces, a backslash takes the next letter as it is.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().push(letters.next().unwrap_or('\\')),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    match quote {
        Some(open) => Err(format!("the quote {open} is not closed")),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

/// Completes commands and paths.
struct Words {
    session: Session,
    handle: Handle,
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let begun = &line[..at];
        let start = begun.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let word = &begun[start..];
        if begun[..start].trim().is_empty() {
            return Ok((start, commands(word)));
        }
        let Some(slash) = word.rfind('/') else { return Ok((start, Vec::new())) };
        let parent = if slash == 0 { "/" } else { &word[..slash] };
        let names = self.handle.block_on(self.session.children(parent, false)).unwrap_or_default();
        let begins = &word[slash + 1..];
        let fits = names.iter().filter(|name| name.starts_with(begins) && plain(name) == ***name);
        let mut fits: Vec<String> = fits.map(|name| ops::join(parent, name)).collect();
        // The only one that fits: on to its children, if it has some.
        if let [only] = fits.as_mut_slice()
            && let Ok(Some(stat)) = self.handle.block_on(self.session.exists(only, false))
        {
            only.push(if stat.num_children > 0 { '/' } else { ' ' });
        }
        Ok((start, fits))
    }
}

fn commands(begun: &str) -> Vec<String> {
    let line = Line::command();
    let known = line.get_subcommands().map(|command| command.get_name().to_owned());
    let all = known.chain(["help", "quit"].map(str::to_owned));
    all.filter(|name| name.starts_with(begun)).map(|name| name + " ").collect()
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_into_words() {
        let cut = |line| words(line).unwrap();
        assert_eq!(cut("  set /a 'two words'  -v 3 "), ["set", "/a", "two words", "-v", "3"]);
        assert_eq!(cut(r#"create /a "say \"hi\"""#), ["create", "/a", r#"say "hi""#]);
        assert_eq!(cut(r"get /a\ b ''"), ["get", "/a b", ""]);
        assert!(cut("   ").is_empty());
        assert!(words("get '/a").is_err());
    }

    #[test]
    fn a_line_is_a_command() {
        let parse = |line: &str| Line::try_parse_from(words(line).unwrap()).map(|line| line.op);
        assert_eq!(parse("ls").unwrap(), Op::Ls { path: "/".into(), recursive: false });
        let create = parse("create -e -s /a x").unwrap();
        let wanted =
            Op::Create { path: "/a".into(), value: "x".into(), ephemeral: true, sequential: true, parents: false };
        assert_eq!(create, wanted);
        assert!(parse("fly /a").is_err() && parse("get").is_err());
        assert_eq!(commands("st"), ["stat "]);
        assert!(commands("").contains(&"quit ".to_owned()));
    }
}
