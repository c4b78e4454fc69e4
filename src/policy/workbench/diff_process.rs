//! A solver: a program that reads SMT-LIB on its standard input and answers on its standard output. The one program that
//! narrowgate starts, and only for whoever types `policy diff`; the daemon's sandbox lets it start none.

use cedar_policy_symcc::solver::{Decision, DecisionWithModel, Solver, SolverError};
use std::{
    io::{Error, ErrorKind},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Bytes of one answer, a counterexample.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Bytes that are told of what a solver says when it fails.
const COMPLAINT_BYTES_MAX: u64 = 400;
/// How much longer than its own limit we wait for a solver.
const GRACE: Duration = Duration::from_secs(2);

/// A solver's process, started with the first question that needs it, and again after one that it did not answer.
pub(super) struct SolverProcess {
    command: PathBuf,
    limit: Duration,
    /// What it is to read next.
    script: Vec<u8>,
    running: Option<Running>,
    /// Questions that it was really asked.
    pub(super) asked: usize,
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    complaints: ChildStderr,
}

impl SolverProcess {
    /// A solver by this command, which is to answer each question within this time.
    pub(super) const fn new(command: PathBuf, limit: Duration) -> Self {
        Self { command, limit, script: Vec::new(), running: None, asked: 0 }
    }

    fn start(&self) -> Result<Running, SolverError> {
        let mut command = Command::new(&self.command);
        command.args(["--lang", "smt"]).arg(format!("--tlimit-per={}", self.limit.as_millis()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(complaints)) = pipes else {
            return Err(SolverError::Solver("it has no pipes".to_owned()));
        };
        Ok(Running { child, input, output: BufReader::new(output), complaints })
    }

    /// Sends the script, ended by a command, and returns the answer: one line, or, where that opens a list, all lines to
    /// the one that closes it.
    async fn ask(&mut self, command: &str) -> Result<String, SolverError> {
        self.script.extend_from_slice(command.as_bytes());
        let script = std::mem::take(&mut self.script);
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        let answered = timeout(self.limit.saturating_add(GRACE), running.ask(&script)).await;
        match answered {
            // Killed as it is dropped: it would answer another question than it is asked next.
            Err(_) => Err(Error::from(ErrorKind::TimedOut).into()),
            Ok(Ok(answer)) if answer.starts_with("(error") => Err(SolverError::Solver(bounded(&answer))),
            Ok(Ok(answer)) => {
                self.running = Some(running);
                Ok(answer)
            }
            Ok(Err(wrong)) => Err(SolverError::Solver(running.died(&wrong).await)),
        }
    }
}

impl Running {
    async fn ask(&mut self, script: &[u8]) -> Result<String, Error> {
        // Side by side: neither waits for a pipe that is full while the other does.
        let send = async {
            self.input.write_all(script).await?;
            self.input.flush().await
        };
        let receive = async {
            let mut answer = String::new();
            let mut limited = (&mut self.output).take(ANSWER_BYTES_MAX);
            loop {
                let from = answer.len();
                limited.read_line(&mut answer).await?;
                if !answer.ends_with('\n') {
                    let full = limited.limit() == 0;
                    let kind = if full { ErrorKind::InvalidData } else { ErrorKind::UnexpectedEof };
                    return Err(Error::from(kind));
                }
                if !answer.starts_with("(\n") || (from > 0 && answer.get(from..).is_some_and(|line| line.trim() == ")"))
                {
                    return Ok(answer);
                }
            }
        };
        // Whoever dies before it has read everything has said why.
        let (sent, received) = tokio::join!(send, receive);
        let answer = received?;
        sent.map(|()| answer)
    }

    /// What became of it, and what it says of that.
    async fn died(mut self, wrong: &Error) -> String {
        let mut complaint = Vec::new();
        let mut complaints = (&mut self.complaints).take(COMPLAINT_BYTES_MAX);
        let _ = timeout(GRACE, complaints.read_to_end(&mut complaint)).await;
        let status = timeout(GRACE, self.child.wait()).await.ok().and_then(Result::ok);
        let end = match (wrong.kind(), status) {
            (ErrorKind::InvalidData, _) => "its answer is too long, or no text".to_owned(),
            (_, Some(status)) => format!("it ended without an answer ({status})"),
            (_, None) => format!("it gave no answer: {wrong}"),
        };
        let complaint = bounded(String::from_utf8_lossy(&complaint).trim());
        if complaint.is_empty() { end } else { format!("{end}: {complaint}") }
    }
}

/// The beginning of a text, in one line and without control characters.
fn bounded(text: &str) -> String {
    let taken = text.trim().chars().take(usize::try_from(COMPLAINT_BYTES_MAX).unwrap_or(usize::MAX));
    taken.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Solver for SolverProcess {
    fn smtlib_input(&mut self) -> &mut (dyn AsyncWrite + Unpin + Send) {
        &mut self.script
    }

    async fn enable_models(&mut self) -> Result<(), SolverError> {
        self.script.extend_from_slice(b"(set-option :produce-models true)\n");
        Ok(())
    }

    async fn check_sat(&mut self) -> Result<Decision, SolverError> {
        self.asked += 1;
        match self.ask("(check-sat)\n").await?.trim() {
            "sat" => Ok(Decision::Sat),
            "unsat" => Ok(Decision::Unsat),
            "unknown" | "timeout" => Ok(Decision::Unknown),
            other => {
                self.running = None;
                Err(SolverError::UnrecognizedSolverOutput(bounded(other)))
            }
        }
    }

    async fn check_sat_with_model(&mut self) -> Result<DecisionWithModel, SolverError> {
        match self.check_sat().await? {
            Decision::Sat => Ok(DecisionWithModel::Sat { model: self.ask("(get-model)\n").await? }),
            Decision::Unsat => Ok(DecisionWithModel::Unsat),
            Decision::Unknown => Ok(DecisionWithModel::Unknown),
        }
    }
}
