//! The files a commit would carry: everything below the repository that is text, without what tools leave there.
//!
//! Git is not asked, so that the test also runs on an unpacked archive.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold only what a tool made, or what `.gitignore` names.
const SKIPPED: [&str; 5] = [".git", "target", ".work", "node_modules", "__pycache__"];

/// Path (relative, with `/`) and content of every file that is UTF-8, in the order of their paths.
pub(crate) fn text_files(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder) {
            if entry.is_dir() {
                if !SKIPPED.iter().any(|skipped| entry.ends_with(skipped)) {
                    folders.push(entry);
                }
            } else if let Ok(text) = fs::read_to_string(&entry) {
                files.push((relative(root, &entry), text));
            }
        }
    }
    files.sort();
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    listing.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| !path.is_symlink()).collect()
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
