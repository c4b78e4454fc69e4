//! Printing: text for people, JSON for programs.

use super::Exit;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
};

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON value on standard output.
    Json,
    /// JUnit's XML, of `policy check` and `policy test`: what CI systems read.
    Junit,
}

/// Whether a command line that clap could not read asks for JSON all the same.
pub(super) fn asked_for_json(mut arguments: impl Iterator<Item = OsString>) -> bool {
    let mut before = OsString::new();
    arguments.any(|argument| {
        let asked = argument == "--output=json" || (before == "--output" && argument == "json");
        before = argument;
        asked
    })
}

/// The way to standard output and error.
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) const fn new(format: Format) -> Self {
        Self { format }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn is_junit(&self) -> bool {
        self.format == Format::Junit
    }

    /// Whether colours are wanted: by a terminal, unless NO_COLOR says otherwise (no-color.org).
    pub(super) fn is_coloured(&self) -> bool {
        self.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Whether what is printed goes to a person's eyes.
    pub(super) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Prints text as it is.
    pub(super) fn text(&self, text: &str) -> Exit {
        let mut out = io::stdout().lock();
        // A closed pipe is the reader's choice.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        Exit::Ok
    }

    /// Prints a result in the format asked for.
    pub(super) fn result(&self, text: &str, value: &Value) {
        match self.format {
            Format::Text | Format::Junit => self.text(&format!("{text}\n")),
            Format::Json => self.text(&format!("{value:#}\n")),
        };
    }

    /// Says something that is no result.
    pub(super) fn say(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Prints why the command failed.
    pub(super) fn fail(&self, exit: Exit, text: &str) -> Exit {
        match self.format {
            Format::Text | Format::Junit => self.say(&format!("narrowgate: {text}")),
            Format::Json => {
                self.text(&format!("{:#}\n", json!({ "error": { "message": text, "exit_code": exit as u8 } })));
            }
        }
        exit
    }
}
