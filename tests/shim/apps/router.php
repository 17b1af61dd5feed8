<?php
// For `php -S`, which has a fixed port in its command line.
header('Content-Type: application/json');
echo json_encode([
    'pid' => getmypid(),
    'peer' => [$_SERVER['REMOTE_ADDR'], (int) $_SERVER['REMOTE_PORT']],
    'own' => ['127.0.0.1', (int) $_SERVER['SERVER_PORT']],
]);
