//! From the paths that the program is given to the files that it writes.

use std::path::{Component, Path, PathBuf};

use crate::{
    Error, atomic,
    collection::Collection,
    document::{Block, markdown},
    files::{self, Loaded},
    matrix, readme,
    results::Parsed,
    section::{self, Output, Section},
};

/// The block of a Markdown file that shows the matrix.
const MATRIX: &str = "matrix";

/// What a path names.
#[derive(Debug)]
enum Target {
    /// One result.
    File(Box<Loaded>),
    /// A directory with results.
    Section(Section),
    /// A directory with such directories.
    Collection(Collection),
}

/// Results, and where what is made of them goes.
#[derive(Debug)]
pub struct Targets {
    targets: Vec<Target>,
    out: Option<PathBuf>,
}

impl Targets {
    /// Reads all results that `paths` name. A file that cannot be read is among the errors; the others are kept.
    ///
    /// What is made of `DIR/section3_1/table2.json` goes beside it, or to `out/section3_1/` where `out` is given.
    pub fn read(paths: &[PathBuf], out: Option<PathBuf>) -> (Self, Vec<Error>) {
        let (mut targets, mut errors) = (Vec::new(), Vec::new());
        for path in paths {
            let (target, problems) = read(path);
            targets.extend(target);
            errors.extend(problems);
        }
        let mut all = Self { targets, out };
        errors.extend(all.drop_second_of_each_name());
        (all, errors)
    }

    /// Two results with one name would answer to one marker, and two things with one place would be written over each other.
    fn drop_second_of_each_name(&mut self) -> Vec<Error> {
        let mut seen: Vec<(String, PathBuf)> = Vec::new();
        let mut errors = Vec::new();
        for target in std::mem::take(&mut self.targets) {
            let named = [target.named(), self.pages(&target)].concat();
            let twice = named.iter().find_map(|(key, second)| {
                let (_, first) = seen.iter().find(|(known, _)| known == key)?;
                Some(Error::Ambiguous {
                    key: key.clone(),
                    first: first.clone(),
                    second: second.clone(),
                })
            });
            match twice {
                Some(twice) => errors.push(twice),
                None => self.targets.push(target),
            }
            seen.extend(named);
        }
        errors
    }

    /// The pages that are made of it, with the directories that they are made of.
    fn pages(&self, target: &Target) -> Vec<(String, PathBuf)> {
        let page = |place: PathBuf, folder: &Path| {
            let page = place.join("README.md").display().to_string();
            (page, folder.to_owned())
        };
        let of = |section: &Section| page(self.place(&section.folder), &section.folder);
        let mut pages: Vec<_> = target.sections().iter().map(of).collect();
        if let Target::Collection(collection) = target {
            pages.push(page(self.place_of_all(collection), &collection.folder));
        }
        pages
    }

    /// Every file that is made of the results, with its full path.
    fn outputs(&self) -> Vec<Output> {
        self.targets
            .iter()
            .flat_map(|target| self.outputs_of(target))
            .collect()
    }

    fn outputs_of(&self, target: &Target) -> Vec<Output> {
        let below = |folder: PathBuf, outputs: Vec<Output>| {
            let place = move |output: Output| Output {
                path: folder.join(output.path),
                ..output
            };
            outputs.into_iter().map(place).collect::<Vec<_>>()
        };
        match target {
            Target::File(loaded) => {
                let folder = loaded.path.parent().unwrap_or(Path::new(""));
                let outputs = section::drawing(loaded).into_iter().collect();
                below(self.place(folder), outputs)
            }
            Target::Section(section) => below(self.place(&section.folder), section.outputs()),
            Target::Collection(collection) => {
                let sections = collection.sections.iter();
                let mut all: Vec<Output> = sections
                    .flat_map(|section| below(self.place(&section.folder), section.outputs()))
                    .collect();
                if collection.is_whole {
                    let pages = vec![collection.index(), collection.report()];
                    all.extend(below(self.place_of_all(collection), pages));
                }
                all
            }
        }
    }

    /// Where what is made of the results in `folder` goes.
    fn place(&self, folder: &Path) -> PathBuf {
        match &self.out {
            Some(out) => out.join(name_of(folder)),
            None => folder.to_owned(),
        }
    }

    /// Where the pages of a whole collection go.
    fn place_of_all(&self, collection: &Collection) -> PathBuf {
        self.out.as_ref().unwrap_or(&collection.folder).clone()
    }

    /// Writes all. One file's failure leaves the others to be written.
    pub fn write(&self) -> Vec<Result<PathBuf, Error>> {
        self.outputs().into_iter().map(Output::write).collect()
    }

    /// Writes what of it is not on the disk as it would be written now, and says what that was.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn refresh(&self) -> Result<Vec<PathBuf>, Error> {
        let stale = self.outputs().into_iter().filter(Output::is_stale);
        stale.map(Output::write).collect()
    }

    /// What of it is not on the disk as it would be written now.
    pub fn stale(&self, arguments: &str) -> Vec<Error> {
        let stale = self.outputs().into_iter().filter(Output::is_stale);
        stale
            .map(|output| Error::Stale {
                path: output.path,
                arguments: arguments.to_owned(),
            })
            .collect()
    }

    /// Brings the generated blocks of the Markdown file at `path` up to date; says whether anything changed.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Marker`] or [`Error::Write`]; the file is then as it was.
    pub fn update(&self, path: &Path) -> Result<bool, Error> {
        let (old, new) = self.rewritten(path)?;
        if old == new {
            atomic::sweep(path);
            return Ok(false);
        }
        files::write(path, &new).map(|()| true)
    }

    /// Checks, writing nothing, that the Markdown file at `path` is up to date.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`], or as [`update`](Self::update).
    pub fn check(&self, path: &Path, arguments: &str) -> Result<(), Error> {
        let (old, new) = self.rewritten(path)?;
        if old == new {
            return Ok(());
        }
        Err(Error::Stale {
            path: path.to_owned(),
            arguments: arguments.to_owned(),
        })
    }

    /// The Markdown file as it is, and as it should be.
    fn rewritten(&self, path: &Path) -> Result<(String, String), Error> {
        let old = files::read(path)?;
        let full = path.canonicalize().map_err(|reason| Error::Read {
            path: path.to_owned(),
            reason,
        })?;
        let folder = full.parent().unwrap_or(&full);
        let block = |key: &str| {
            self.block(key, folder)
                .map(|blocks| markdown::render(&blocks))
        };
        let new = readme::replaced(&old, block).map_err(|p| Error::Marker {
            path: path.to_owned(),
            line: p.line,
            problem: p.problem,
        })?;
        Ok((old, new))
    }

    /// What stands between the markers of `key`, in a Markdown file that lies in `folder`.
    fn block(&self, key: &str, folder: &Path) -> Result<Vec<Block>, String> {
        if key == MATRIX {
            let collection = self
                .collection()
                .ok_or("expected results of several sections for the matrix, found none")?;
            let page = |section: &Section| {
                let page = self.place(&section.folder).join("README.md");
                relative(folder, &full(&page))
            };
            return Ok(collection.matrix(page, matrix::LEGEND_OF_SIGNS));
        }
        let (file, at) = self.find(key)?;
        let svg = relative(
            folder,
            &full(&self.place(&at).join(format!("{}.svg", stem_of(key)))),
        );
        Ok(section::excerpt(file, &svg))
    }

    fn collection(&self) -> Option<&Collection> {
        self.targets.iter().find_map(|target| match target {
            Target::Collection(collection) => Some(collection),
            _ => None,
        })
    }

    /// The result of that key, and the directory it lies in.
    fn find(&self, key: &str) -> Result<(&Parsed, PathBuf), String> {
        let found = self.targets.iter().find_map(|target| target.find(key));
        found.ok_or_else(|| {
            let known = self
                .targets
                .iter()
                .flat_map(Target::named)
                .map(|(key, _)| key);
            let known: Vec<String> = known.chain([MATRIX.to_owned()]).collect();
            format!(
                "expected one of the results read ({}), found `{key}`",
                known.join(", ")
            )
        })
    }
}

impl Target {
    fn sections(&self) -> &[Section] {
        match self {
            Self::File(_) => &[],
            Self::Section(section) => std::slice::from_ref(section),
            Self::Collection(collection) => &collection.sections,
        }
    }

    /// The keys of the results, such as `section3_1/table2`, with where they are.
    fn named(&self) -> Vec<(String, PathBuf)> {
        if let Self::File(loaded) = self {
            let folder = name_of(loaded.path.parent().unwrap_or(Path::new("")));
            return vec![(format!("{folder}/{}", loaded.stem), loaded.path.clone())];
        }
        let of = |section: &Section| {
            let key = |stem: &str| {
                (
                    format!("{}/{stem}", section.name),
                    section.folder.join(format!("{stem}.json")),
                )
            };
            section.stems().map(key).collect::<Vec<_>>()
        };
        self.sections().iter().flat_map(of).collect()
    }

    fn find(&self, key: &str) -> Option<(&Parsed, PathBuf)> {
        if let Self::File(loaded) = self {
            let folder = loaded.path.parent().unwrap_or(Path::new(""));
            let own = format!("{}/{}", name_of(folder), loaded.stem);
            return (own == key).then(|| (&loaded.file, folder.to_owned()));
        }
        let (name, stem) = key.split_once('/')?;
        let section = self
            .sections()
            .iter()
            .find(|section| section.name == name)?;
        Some((section.result(stem)?, section.folder.clone()))
    }
}

fn read(path: &Path) -> (Option<Target>, Vec<Error>) {
    if !path.is_dir() {
        return match files::load(path) {
            Ok(loaded) => (Some(Target::File(Box::new(loaded))), Vec::new()),
            Err(error) => (None, vec![error]),
        };
    }
    match files::results_of(path) {
        Ok(results) if !results.is_empty() => {
            let (section, errors) = Section::read(path);
            return (Some(Target::Section(section)), errors);
        }
        Ok(_) => {}
        Err(error) => return (None, vec![error]),
    }
    let (collection, mut errors) = Collection::read(path);
    if !collection.sections.is_empty() {
        return (Some(Target::Collection(collection)), errors);
    }
    if errors.is_empty() {
        errors.push(Error::NoResults {
            path: path.to_owned(),
        });
    }
    (None, errors)
}

fn stem_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// A directory's own name, wherever one stands.
fn name_of(folder: &Path) -> String {
    files::name(&full_folder(folder))
}

/// `path` from the root on, links resolved as far as its folder exists.
fn full(path: &Path) -> PathBuf {
    let folder = full_folder(path.parent().unwrap_or(Path::new("")));
    folder.join(path.file_name().unwrap_or_default())
}

fn full_folder(folder: &Path) -> PathBuf {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let full = folder
        .canonicalize()
        .or_else(|_| std::path::absolute(folder));
    full.unwrap_or_else(|_| folder.to_owned())
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
