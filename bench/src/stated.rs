//! The durability that the broker's replies stated. All of them have to say the same, and what the engine promises.

use anyhow::{Result, ensure};
use baton_client::Durability;

use crate::args::{Args, Engine};
use crate::report::About;

#[derive(Debug, Default)]
pub(crate) struct Stated(Option<Durability>);

impl Stated {
    pub(crate) fn add(&mut self, durability: Durability) -> Result<()> {
        let before = *self.0.get_or_insert(durability);
        ensure!(
            before == durability,
            "wrong result: some replies say {}, others {}",
            name(before),
            name(durability)
        );
        Ok(())
    }

    pub(crate) fn about(&self, args: &Args) -> Result<About> {
        let durability = self.0.unwrap_or_default();
        let engine = match &args.broker {
            Some(url) => format!("of {url}"),
            None => {
                let promised = match args.engine {
                    Engine::Data => Durability::Fsynced,
                    Engine::Memory => Durability::Memory,
                };
                ensure!(
                    durability == promised,
                    "wrong result: the {} engine's replies say {}",
                    args.engine.name(),
                    name(durability)
                );
                args.engine.name().to_owned()
            }
        };
        Ok(About {
            engine,
            durability: name(durability).to_owned(),
            runs: args.runs(),
        })
    }
}

fn name(durability: Durability) -> &'static str {
    durability.as_str_name().trim_start_matches("DURABILITY_")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn an_engine_has_to_state_what_it_promises() {
        let data = Args::parse_from(["baton-bench", "ping-pong"]);
        let memory = Args::parse_from(["baton-bench", "ping-pong", "--engine", "memory"]);
        let mut stated = Stated::default();
        stated.add(Durability::Memory).unwrap();
        assert!(stated.about(&data).is_err());
        let about = stated.about(&memory).unwrap();
        assert_eq!((&*about.engine, &*about.durability), ("memory", "MEMORY"));
        assert!(stated.add(Durability::Fsynced).is_err());
        assert!(Stated::default().about(&data).is_err());
    }
}
