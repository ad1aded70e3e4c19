//! `image` (`images`) and `commit`.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand};
use driver_types::{
    ByteStream, ContainerDriver, DriverError, Image, ImportOptions, PullProgress, PullRequest, RegistryAuth,
};
use futures_util::{StreamExt, TryStreamExt};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;

use super::stats::size;
use crate::App;
use crate::cli::{ContainerArg, Format};
use crate::commands::several;
use crate::failure::{Failure, Outcome};
use crate::{output, parse, resolve};

/// Arguments of `image`.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    pub command: Option<ImageCommand>,
}

/// What to do with images; `ls` where nothing is said.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List images
    Ls {
        /// Print ids only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Show all that is known about images, as a JSON array
    Inspect {
        /// Reference or id
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
    },
    /// Pull an image
    Pull(PullArgs),
    /// Make an image of the tar of a root file system
    Import(Box<ImportArgs>),
    /// Remove images
    Rm {
        /// Reference or id
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
    },
}

/// Arguments of `image pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// User at the registry; the password is read from stdin
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password or token from stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Name with an optional :tag and @digest
    image: String,
}

/// Arguments of `image import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// File with the tar; `-` for stdin
    file: PathBuf,
    /// Reference that will stand for it: a name with an optional :tag
    image: String,
    /// Program that containers of it run
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Argument of the program; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    command: Vec<String>,
    /// Environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Working directory
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// Label
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
}

/// Arguments of `commit`.
#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    #[command(flatten)]
    container: ContainerArg,
    /// Reference that will stand for the image: a name with an optional :tag
    image: String,
}

/// Runs a command on images.
pub(crate) async fn run(app: &App, command: Option<ImageCommand>) -> Outcome {
    match command.unwrap_or(ImageCommand::Ls { quiet: false }) {
        ImageCommand::Ls { quiet } => list(app, quiet).await,
        ImageCommand::Inspect { images } => {
            several::inspect(app, &images, async |name| {
                let found = app.driver.get_image(name).await?;
                found.ok_or_else(|| DriverError::image_not_found(name))
            })
            .await
        }
        ImageCommand::Pull(args) => pull(app, args).await,
        ImageCommand::Import(args) => import(app, *args).await,
        ImageCommand::Rm { images } => {
            several::each(app, &images, async |name| app.driver.remove_image(name).await).await
        }
    }
}

/// Makes an image of a container.
pub(crate) async fn commit(app: &App, args: &CommitArgs) -> Outcome {
    let container = resolve::container(&*app.driver, &args.container.container).await?;
    let image = app.driver.snapshot_container(&container.id, &args.image).await?;
    show(app, &image)
}

fn show(app: &App, image: &Image) -> Outcome {
    match app.format {
        Format::Table => output::line(&image.id)?,
        Format::Json => output::json(image)?,
    }
    Ok(0)
}

async fn list(app: &App, quiet: bool) -> Outcome {
    let images = app.driver.list_images().await?;
    match app.format {
        Format::Json => output::json(&images)?,
        Format::Table if quiet => {
            for image in &images {
                output::line(&image.id)?;
            }
        }
        Format::Table => {
            let rows = images.iter().flat_map(|image| {
                let id: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
                let untagged = image.references.is_empty().then(|| "<none>".to_owned());
                let references = image.references.iter().cloned().chain(untagged);
                references.map(move |reference| [reference, id.clone(), size(image.size_bytes)])
            });
            output::table(&["REFERENCE", "IMAGE ID", "SIZE"], rows)?;
        }
    }
    Ok(0)
}

async fn pull(app: &App, args: PullArgs) -> Outcome {
    let mut request = PullRequest::new(args.image);
    if let Some(username) = args.username {
        request.auth = Some(RegistryAuth {
            username,
            password: password().await?.into(),
        });
    }
    if app.format == Format::Json {
        let mut progress = app.driver.pull_image(&request).await?;
        while let Some(item) = progress.next().await {
            output::json_line(&item?)?;
        }
        return Ok(0);
    }
    let image = if args.quiet || !io::stderr().is_terminal() {
        finished(
            app.driver
                .pull_image(&request)
                .await?
                .try_collect::<Vec<_>>()
                .await?
                .pop(),
        )?
    } else {
        pull_with_progress(&*app.driver, &request).await?
    };
    output::line(&image.id)?;
    Ok(0)
}

/// Longest password that is read.
const MAX_PASSWORD: u64 = 64 << 10;

async fn password() -> Result<String, Failure> {
    let mut text = String::new();
    tokio::io::stdin()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text)
        .await?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Pulls an image with a bar a layer on stderr.
pub(crate) async fn pull_with_progress(
    driver: &dyn ContainerDriver,
    request: &PullRequest,
) -> Result<Image, Failure> {
    let mut progress = driver.pull_image(request).await?;
    let mut bars = Bars::new();
    let mut last = None;
    while let Some(item) = progress.next().await {
        let item = item?;
        bars.show(&item);
        last = Some(item);
    }
    bars.clear()?;
    finished(last)
}

fn finished(last: Option<PullProgress>) -> Result<Image, Failure> {
    let image = last.and_then(|item| item.image);
    image.ok_or_else(|| DriverError::internal("the pull ended without an image").into())
}

/// The progress bars of a pull.
struct Bars {
    all: MultiProgress,
    layers: HashMap<String, ProgressBar>,
    bar: ProgressStyle,
    text: ProgressStyle,
}

impl Bars {
    fn new() -> Self {
        let style = |template| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            layers: HashMap::new(),
            bar: style("{prefix:12} {msg:20!} [{bar:30}] {bytes:>10} / {total_bytes}").progress_chars("=> "),
            text: style("{prefix:12} {msg}"),
        }
    }

    fn show(&mut self, item: &PullProgress) {
        if item.status == PullProgress::COMPLETE {
            return;
        }
        let key = item.layer.clone().unwrap_or_default();
        let prefix: String = output::printable(&key).chars().take(12).collect();
        let (all, text) = (&self.all, &self.text);
        let bar = self.layers.entry(key).or_insert_with(|| {
            all.add(ProgressBar::new(0))
                .with_style(text.clone())
                .with_prefix(prefix)
        });
        bar.set_message(output::printable(&item.status));
        match (item.current_bytes, item.total_bytes) {
            (Some(current), Some(total)) if total > 0 => {
                bar.set_style(self.bar.clone());
                bar.set_length(total);
                bar.set_position(current);
            }
            _ => bar.set_style(self.text.clone()),
        }
    }

    fn clear(self) -> io::Result<()> {
        self.all.clear()
    }
}

async fn import(app: &App, args: ImportArgs) -> Outcome {
    let lookup = |name: &str| std::env::var(name).ok();
    let options = ImportOptions {
        entrypoint: args.entrypoint.into_iter().collect(),
        command: args.command,
        env: parse::env_pairs(args.env.iter().map(String::as_str), lookup)
            .into_iter()
            .collect(),
        working_dir: args.workdir,
        labels: args.label.iter().map(|label| parse::key_value(label)).collect(),
        ..ImportOptions::new(args.image)
    };
    let image = app.driver.import_image(&options, open(&args.file).await?).await?;
    show(app, &image)
}

/// A file, or stdin for `-`, as a stream.
async fn open(file: &PathBuf) -> Result<ByteStream, Failure> {
    if file.as_os_str() == "-" {
        return Ok(byte_stream(tokio::io::stdin()));
    }
    let opened = tokio::fs::File::open(file)
        .await
        .map_err(|error| DriverError::file_system(format!("cannot read {}: {error}", file.display())))?;
    Ok(byte_stream(opened))
}

/// What a reader gives, as a stream of the contract.
pub(crate) fn byte_stream(reader: impl AsyncRead + Send + 'static) -> ByteStream {
    let bytes = ReaderStream::with_capacity(reader, 64 * 1024);
    Box::pin(
        bytes
            .map_err(|error| DriverError::file_system(format!("cannot read the archive: {error}")))
            .map_ok(Bytes::from),
    )
}
