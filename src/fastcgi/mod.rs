//! What FastCGI is made of, and what it means: records, parameters, paths, answers.
//!
//! Pure. From the FastCGI specification 1.0 (1996), CGI/1.1 (RFC 3875), what php-fpm makes of them, and the rules
//! that every guide to nginx with php-fpm repeats: which path runs a script, which one is a file, which one is
//! neither. Facts about the file system come in as arguments. How bytes move is `engine/fastcgi`'s concern.

pub mod answer;
pub mod fault;
pub mod file;
pub mod params;
pub mod path;
pub mod record;
