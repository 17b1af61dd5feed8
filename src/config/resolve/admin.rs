//! The part of the configuration that is about the admin listener.

use super::super::admin::{Admin, AdminPlace};
use super::super::read;
use super::Judge;
use crate::error::Problem;

impl Judge<'_> {
    /// `port` is the platform's.
    pub(super) fn admin(&mut self, port: u16) -> Admin {
        let admin = Admin {
            listen: self.read("admin.listen", |_, value| read::admin_place(value)),
            remote: self.switch("admin.remote"),
            token: self.optional("admin.token", read::token),
        };
        match &admin.listen {
            Some(AdminPlace::Tcp(address)) => {
                if !address.ip().is_loopback() && !admin.remote {
                    let problem = Problem::new(
                        format!("`admin.listen` ({address}) can be reached by others."),
                        "What it tells is for those who run this instance.",
                        format!(
                            "Listen on 127.0.0.1:{}, or set `admin.remote = true` if that is meant.",
                            address.port()
                        ),
                    );
                    self.find("admin.listen", problem);
                }
                if address.port() == port && port != 0 {
                    let problem = Problem::new(
                        format!("`admin.listen` ({address}) takes the platform's port."),
                        "Requests come there, and nothing of the admin is for whoever sends them.",
                        "Choose another port.",
                    );
                    self.find("admin.listen", problem);
                }
            }
            Some(AdminPlace::Unix(path)) => self.check_socket_path("admin.listen", path),
            None => {}
        }
        admin
    }
}
