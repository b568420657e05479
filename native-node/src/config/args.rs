//! The flags of `glasshouse node`, and how they, the environment and the file become one set of settings.

use super::Usage;
use super::settings::{BrokerSection, BrokerSettings, General, KeeperSection, Settings};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `glasshouse node`: a flag goes before the environment, that before the file, and that before the default.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// The file with the settings
    #[arg(long, env = "GLASSHOUSE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub general: General,
    #[command(flatten, next_help_heading = "As a keeper")]
    pub keeper: KeeperSection,
    #[command(flatten, next_help_heading = "As a broker")]
    pub broker: BrokerSection,
    /// A setting of the broker by Kafka's name, such as min.insync.replicas=2
    #[arg(long = "set", env = "GLASSHOUSE_SET", value_name = "NAME=VALUE", value_delimiter = ',')]
    pub set: Vec<String>,
    /// The sockets come from the parent, over standard input; when it is gone, so are we
    #[arg(long, hide = true)]
    pub inherit: bool,
}

impl Args {
    /// Everything together.
    ///
    /// # Errors
    /// One sentence about the file, or about a flag.
    pub fn settings(self) -> Result<Settings, Usage> {
        let file = self.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        let mut settings = BTreeMap::new();
        for pair in &self.set {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(Usage(format!("--set takes NAME=VALUE, which {pair:?} is not")));
            };
            settings.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        let mut file = file;
        // Whoever names one kind of secret here does not mean the file's other kind.
        if self.general.secret.is_some() || self.general.secret_file.is_some() {
            (file.general.secret, file.general.secret_file) = (None, None);
        }
        let broker = BrokerSettings { section: self.broker, settings };
        Ok(Settings { general: self.general, keeper: self.keeper, broker }.or(file))
    }
}
