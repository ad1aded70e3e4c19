//! Commands on stdin and the terminal.

use std::io::{BufRead, IsTerminal, Read};

use crate::system::{self, escape, write_all};
use crate::{Answer, files, pause, print};

pub fn run(name: &str, arguments: &[&[u8]]) -> Option<Answer> {
    Some(match (name, arguments) {
        ("cat", []) => cat(),
        ("echo", []) => echo(),
        ("stdin", []) => files::checksum(std::io::stdin().lock()),
        ("tty", []) => {
            let word = |terminal: bool| if terminal { "yes" } else { "no" };
            let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
            let words = [input.is_terminal(), output.is_terminal(), error.is_terminal()].map(word);
            Ok(Some(words.join(",")))
        }
        ("winsize", []) => winsize().map(Some),
        ("watch-winsize", []) => watch(),
        _ => return None,
    })
}

fn cat() -> Answer {
    let mut buffer = [0; 65_536];
    let mut stdin = std::io::stdin().lock();
    loop {
        match stdin.read(&mut buffer)? {
            0 => return Ok(None),
            length => write_all(1, &buffer[..length]),
        }
    }
}

fn echo() -> Answer {
    for line in std::io::stdin().lock().split(b'\n') {
        print(&format!("echo={}", escape(&line?)));
    }
    Ok(None)
}

fn winsize() -> Result<String, crate::Trouble> {
    let (rows, columns) = system::window_size(0)?;
    Ok(format!("{rows} {columns}"))
}

fn watch() -> Answer {
    let mut last = String::new();
    loop {
        let size = winsize()?;
        if size != last {
            print(&format!("winsize={size}"));
            last = size;
        }
        pause(20);
    }
}
