//! From result files to pictures, Markdown files and a README's generated blocks.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{
    Error,
    files::{self, Loaded},
    markdown, picture, readme,
    results::Parsed,
};

/// The results to report on, and where what is made of them goes.
#[derive(Debug)]
pub struct Report {
    results: Vec<Loaded>,
    out: Option<PathBuf>,
}

impl Report {
    /// Reads all results that `paths` name. A file that cannot be read is among the errors; the others are kept.
    ///
    /// What is made of `DIR/section3_1/table2.json` goes beside it, or to `out/section3_1/` where `out` is given.
    pub fn read(paths: &[PathBuf], out: Option<PathBuf>) -> (Self, Vec<Error>) {
        let mut results: Vec<Loaded> = Vec::new();
        let mut errors = Vec::new();
        for path in paths {
            let files = files::results_in(path).unwrap_or_else(|error| {
                errors.push(error);
                vec![]
            });
            for loaded in files.iter().map(|file| files::load(file)) {
                match loaded.and_then(|loaded| distinct(&results, loaded)) {
                    Ok(loaded) => results.push(loaded),
                    Err(error) => errors.push(error),
                }
            }
        }
        (Self { results, out }, errors)
    }

    /// Writes each result's files: `.svg` and `.png` for a figure, `.md` for a table or claims. One result's failure
    /// leaves the others to be written.
    pub fn draw(&self) -> Vec<Result<PathBuf, Error>> {
        self.results
            .iter()
            .flat_map(|loaded| self.draw_one(loaded))
            .collect()
    }

    fn draw_one(&self, loaded: &Loaded) -> Vec<Result<PathBuf, Error>> {
        let stem = self.stem(loaded);
        let write = |extension: &str, bytes: &[u8]| {
            let path = stem.with_extension(extension);
            files::write(&path, bytes).map(|()| path)
        };
        if let Parsed::Figure(figure) = &loaded.file {
            return match picture::picture(figure) {
                Ok(drawn) => vec![write("svg", drawn.svg.as_bytes()), write("png", &drawn.png)],
                Err(reason) => vec![Err(Error::Draw {
                    path: loaded.path.clone(),
                    reason,
                })],
            };
        }
        let document = markdown::document(&loaded.file);
        document
            .map(|text| write("md", text.as_bytes()))
            .into_iter()
            .collect()
    }

    /// Brings the generated blocks of the Markdown file at `path` up to date; says whether anything changed.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Marker`] or [`Error::Write`]; the file is then as it was.
    pub fn update(&self, path: &Path) -> Result<bool, Error> {
        let Rewritten { old, new, .. } = self.rewritten(path)?;
        if old == new {
            return Ok(false);
        }
        files::write(path, new.as_bytes()).map(|()| true)
    }

    /// Checks, writing nothing, that the Markdown file at `path` is up to date and that the pictures it links to exist.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] or [`Error::NoImage`], or as [`update`](Self::update).
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        let Rewritten { old, new, images } = self.rewritten(path)?;
        if old != new {
            return Err(Error::Stale {
                path: path.to_owned(),
            });
        }
        match images.into_iter().find(|image| !image.is_file()) {
            Some(image) => Err(Error::NoImage {
                path: path.to_owned(),
                image,
            }),
            None => Ok(()),
        }
    }

    fn rewritten(&self, path: &Path) -> Result<Rewritten, Error> {
        let unreadable = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let old = fs::read_to_string(path).map_err(unreadable)?;
        let full = path.canonicalize().map_err(unreadable)?;
        let folder = full.parent().unwrap_or(&full);
        let mut images = Vec::new();
        let block = |key: &str| {
            let loaded = self.find(key)?;
            if let Parsed::Figure(_) = loaded.file {
                images.extend(
                    ["svg", "png"].map(|extension| self.stem(loaded).with_extension(extension)),
                );
            }
            self.block(loaded, folder)
        };
        let new = readme::replaced(&old, block).map_err(|p| Error::Marker {
            path: path.to_owned(),
            line: p.line,
            problem: p.problem,
        })?;
        Ok(Rewritten { old, new, images })
    }

    fn find(&self, key: &str) -> Result<&Loaded, String> {
        self.results
            .iter()
            .find(|loaded| loaded.key == key)
            .ok_or_else(|| {
                let known: Vec<&str> = self
                    .results
                    .iter()
                    .map(|loaded| loaded.key.as_str())
                    .collect();
                format!(
                    "expected one of the results read ({}), found `{key}`",
                    known.join(", ")
                )
            })
    }

    /// What stands between the markers of a result, in a Markdown file that lies in `folder`.
    fn block(&self, loaded: &Loaded, folder: &Path) -> Result<String, String> {
        if let Parsed::Figure(figure) = &loaded.file {
            let stem = relative(folder, &full(&self.stem(loaded)));
            return Ok(markdown::figure(figure, &stem));
        }
        markdown::document(&loaded.file).ok_or_else(|| format!("`{}` has no text", loaded.key))
    }

    /// The path of what is made of a result, without its extension.
    fn stem(&self, loaded: &Loaded) -> PathBuf {
        match &self.out {
            Some(out) => out.join(&loaded.key),
            None => loaded.path.with_extension(""),
        }
    }
}

/// A Markdown file before and after, and the pictures it then links to.
struct Rewritten {
    old: String,
    new: String,
    images: Vec<PathBuf>,
}

fn distinct(results: &[Loaded], loaded: Loaded) -> Result<Loaded, Error> {
    match results.iter().find(|other| other.key == loaded.key) {
        Some(first) => Err(Error::Ambiguous {
            key: loaded.key,
            first: first.path.clone(),
            second: loaded.path,
        }),
        None => Ok(loaded),
    }
}

/// `path` from the root on, links resolved as far as its folder exists.
fn full(path: &Path) -> PathBuf {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let folder = folder
        .canonicalize()
        .or_else(|_| std::path::absolute(folder))
        .unwrap_or_else(|_| folder.to_owned());
    folder.join(path.file_name().unwrap_or_default())
}

/// The way from `folder` to `path`, both full, as a link writes it.
fn relative(folder: &Path, path: &Path) -> String {
    let shared = folder
        .components()
        .zip(path.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = folder.components().skip(shared).map(|_| "..".to_owned());
    let down = path
        .components()
        .skip(shared)
        .filter(|c| *c != Component::RootDir);
    up.chain(down.map(|c| c.as_os_str().to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_to_the_markdown_file() {
        for (folder, path, expected) in [
            (
                "/w",
                "/w/repro/reference/figure2",
                "repro/reference/figure2",
            ),
            ("/w/doc", "/w/repro/figure2", "../repro/figure2"),
            ("/w/doc/a", "/x/figure2", "../../../x/figure2"),
        ] {
            assert_eq!(relative(Path::new(folder), Path::new(path)), expected);
        }
    }
}
