<?php

// A front controller, as frameworks have one: every path comes here.

declare(strict_types=1);

if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    header('Content-Type: application/octet-stream');
    echo file_get_contents('php://input');
    return;
}
header('Content-Type: application/json');
echo json_encode([
    'pid' => getmypid(),
    'self' => ($_SERVER['SERVER_NAME'] ?? '') . ':' . ($_SERVER['SERVER_PORT'] ?? ''),
    'peer' => ($_SERVER['REMOTE_ADDR'] ?? '') . ':' . ($_SERVER['REMOTE_PORT'] ?? ''),
]), "\n";
