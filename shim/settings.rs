//! What warmfront told us: `WARMFRONT_SHIM=<fd>:<port>[,<port>…]:<path>`. Bytes in, settings out.

/// The longest path of a Unix socket, without its NUL.
pub const PATH_BYTES: usize = 107;
/// How many ports can lead to the one listener.
pub const PORTS: usize = 8;

/// A listener and the ports that it stands for.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Number of the inherited descriptor, a Unix socket that is bound to the path.
    pub listener: i32,
    ports: [u16; PORTS],
    path: [u8; PATH_BYTES],
    path_bytes: usize,
}

impl Settings {
    /// No listener, no ports.
    pub const NONE: Self = Self { listener: -1, ports: [0; PORTS], path: [0; PATH_BYTES], path_bytes: 0 };

    /// Reads the value of the variable. `None` if it is malformed in any way: then every call passes through.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.splitn(3, |&byte| byte == b':');
        let (listener, ports, path) = (parts.next()?, parts.next()?, parts.next()?);
        let mut settings = Self { listener: i32::try_from(number(listener)?).ok()?, ..Self::NONE };
        for (place, port) in ports.split(|&byte| byte == b',').enumerate() {
            let port = u16::try_from(number(port)?).ok().filter(|&port| port != 0)?;
            *settings.ports.get_mut(place)? = port;
        }
        if path.first() != Some(&b'/') {
            return None;
        }
        settings.path.get_mut(..path.len())?.copy_from_slice(path);
        settings.path_bytes = path.len();
        Some(settings)
    }

    /// Where the listener is bound.
    pub fn path(&self) -> &[u8] {
        self.path.get(..self.path_bytes).unwrap_or_default()
    }

    /// The place of `port` among the told ones.
    pub fn place_of(&self, port: u16) -> Option<u8> {
        let place = self.ports.iter().position(|&told| told == port && port != 0)?;
        u8::try_from(place).ok()
    }

    /// The port at `place`; the first one for a place that nobody has.
    pub fn port_at(&self, place: u8) -> u16 {
        let told = self.ports.get(usize::from(place)).copied().filter(|&port| port != 0);
        told.or(self.ports.first().copied()).unwrap_or_default()
    }
}

/// Decimal digits and nothing else.
fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u32, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        sum.checked_mul(10)?.checked_add(u32::from(digit))
    })
}
