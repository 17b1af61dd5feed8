<!doctype html>
<link rel="stylesheet" href="/style.css">
<h1>PHP <?= PHP_VERSION ?> without nginx</h1>
<p>You asked for <code><?= htmlspecialchars($_SERVER['REQUEST_URI']) ?></code>,
which is <?= htmlspecialchars($_SERVER['REQUEST_SCHEME']) ?>, and there is no file at that path.</p>
