//! One module for each server.

pub(crate) mod baton;
pub(crate) mod beanstalkd;
pub(crate) mod floor;
#[cfg(feature = "peers")]
pub(crate) mod nats;
#[cfg(feature = "peers")]
pub(crate) mod rabbitmq;
#[cfg(feature = "peers")]
pub(crate) mod redis;
mod window;

use clap::ValueEnum;

/// Which client speaks with the server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DriverKind {
    Baton,
    Floor,
    Beanstalkd,
    #[cfg(feature = "peers")]
    Nats,
    #[cfg(feature = "peers")]
    Rabbitmq,
    #[cfg(feature = "peers")]
    Redis,
}

/// Runs `$body` with `$d` standing for the driver type that `$kind` names.
macro_rules! with_driver {
    ($kind:expr, $d:ident => $body:expr) => {
        match $kind {
            $crate::drivers::DriverKind::Baton => {
                type $d = $crate::drivers::baton::Baton;
                $body
            }
            $crate::drivers::DriverKind::Floor => {
                type $d = $crate::drivers::floor::Floor;
                $body
            }
            $crate::drivers::DriverKind::Beanstalkd => {
                type $d = $crate::drivers::beanstalkd::Beanstalkd;
                $body
            }
            #[cfg(feature = "peers")]
            $crate::drivers::DriverKind::Nats => {
                type $d = $crate::drivers::nats::Nats;
                $body
            }
            #[cfg(feature = "peers")]
            $crate::drivers::DriverKind::Rabbitmq => {
                type $d = $crate::drivers::rabbitmq::RabbitMq;
                $body
            }
            #[cfg(feature = "peers")]
            $crate::drivers::DriverKind::Redis => {
                type $d = $crate::drivers::redis::Redis;
                $body
            }
        }
    };
}
pub(crate) use with_driver;
