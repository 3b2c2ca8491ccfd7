//! The tables of routes that the configuration names: read from their files, with what is wrong with them noted
//! at its place in the file that it is in.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use controlplane::routing::table_file::{self, Findings};
use controlplane::routing::{RouteTable, TableKind};
use controlplane::settings::TrunkId;

use super::diagnostic::{Diagnostic, Place};
use super::section::Located;

/// No table is larger, in bytes: sixteen million rows of some thirty.
const LARGEST_TABLE: u64 = 512 << 20;

/// Tables by their files: one that several routes name is read once.
pub(crate) struct Tables<'n> {
    /// Where relative paths start.
    directory: PathBuf,
    trunks: &'n HashMap<&'n str, TrunkId>,
    read: HashMap<(PathBuf, bool), Option<Arc<RouteTable>>>,
}

impl<'n> Tables<'n> {
    /// No tables yet.
    pub(crate) fn new(directory: &Path, trunks: &'n HashMap<&'n str, TrunkId>) -> Self {
        Self {
            directory: directory.to_owned(),
            trunks,
            read: HashMap::new(),
        }
    }

    /// The table in a file; `None` when something is wrong with it, which has then been noted.
    pub(crate) fn load(
        &mut self,
        kind: TableKind,
        path: &Located<PathBuf>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<RouteTable>> {
        let file = self.directory.join(&path.value);
        let key = (file.clone(), kind == TableKind::Rates);
        if let Some(known) = self.read.get(&key) {
            return known.clone();
        }
        let table = self.read_file(kind, &file, path, diagnostics);
        self.read.insert(key, table.clone());
        table
    }

    fn read_file(
        &self,
        kind: TableKind,
        file: &Path,
        path: &Located<PathBuf>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<RouteTable>> {
        let bytes = match read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("cannot read {}: {error}", file.display());
                let expected = "a file with a table of routes (docs/routing.md)";
                diagnostics.push(Diagnostic::error(path.span.clone(), message, expected));
                return None;
            }
        };
        match table_file::read(kind, &bytes, self.trunks) {
            Ok(table) => Some(table),
            Err(findings) => {
                note(kind, file, path, findings, diagnostics);
                None
            }
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened = File::open(file)?;
    opened.take(LARGEST_TABLE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_TABLE {
        let reason = format!("it is longer than {LARGEST_TABLE} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

fn note(
    kind: TableKind,
    file: &Path,
    path: &Located<PathBuf>,
    findings: Findings,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let expected = match kind {
        TableKind::Prefixes => "lines such as 4930,\"carrier-a*3 carrier-b*1\" under prefix,trunks",
        TableKind::Rates => "lines such as 4930,carrier-a,0.0125 under prefix,trunk,cost",
    };
    for finding in findings.list {
        let place = Place {
            file: file.display().to_string(),
            line: finding.line,
            column: finding.column,
            width: finding.width,
            text: finding.text,
        };
        let message = finding.problem.to_string();
        let diagnostic = Diagnostic::error(path.span.clone(), message, expected);
        diagnostics.push(diagnostic.elsewhere(place));
    }
    if findings.more > 0 {
        let message = format!("{} has {} more errors", file.display(), findings.more);
        diagnostics.push(Diagnostic::error(path.span.clone(), message, expected));
    }
}
