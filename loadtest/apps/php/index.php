<?php
// PHP's own server, which knows TCP only.
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
switch ($path) {
    case '/':
        header('Content-Type: text/plain');
        echo "hello\n";
        break;
    case '/json':
        header('Content-Type: application/json');
        $body = $_SERVER['REQUEST_METHOD'] === 'POST' ? json_decode(file_get_contents('php://input')) : ['hello' => 'world'];
        echo json_encode($body);
        break;
    case '/download':
        header('Content-Type: application/octet-stream');
        echo str_repeat("\0", (int) $_GET['bytes']);
        break;
    case '/upload':
        header('Content-Type: application/json');
        echo json_encode(['bytes' => strlen(file_get_contents('php://input'))]);
        break;
    default:
        http_response_code(404);
}
