<?php
// Makes WordPress ready to be read: install.php SITE answers the questions of its installation, and
// install.php SITE visit is the first visit, behind which it has written all its defaults.
[, $site] = $argv;
// By this name the tests ask, and it redirects to no other.
$_SERVER['HTTP_HOST'] = $_SERVER['SERVER_NAME'] = 'a';
$_SERVER['REQUEST_METHOD'] = 'GET';
$_SERVER['REQUEST_URI'] = $_SERVER['PHP_SELF'] = '/';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
if (($argv[2] ?? '') === 'visit') {
    ob_start();
    require "$site/index.php";
    if (!str_contains(ob_get_clean(), '<title>Warm')) {
        fwrite(STDERR, "WordPress does not show its page\n");
        exit(1);
    }
    exit;
}
define('WP_INSTALLING', true);
require "$site/wp-load.php";
require "$site/wp-admin/includes/upgrade.php";
// Nobody is told by mail.
function wp_new_blog_notification() {}
$made = wp_install('Warm', 'admin', 'admin@example.com', false, '', 'Abc123!xyz');
if (!is_int($made['user_id'])) {
    fwrite(STDERR, "WordPress was not installed\n");
    exit(1);
}
