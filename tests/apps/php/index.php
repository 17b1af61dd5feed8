<?php
// The front controller: whatever has no file of its own comes here, and what happens is in its path.
// Each branch is one thing that a test of php-fpm behind the sidecar needs.

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);

switch ($path) {
    // What a script is told of its request.
    case '/server':
        header('Content-Type: application/json');
        echo json_encode(array_map('strval', $_SERVER), JSON_INVALID_UTF8_SUBSTITUTE);
        break;
    case '/echo':
        header('Content-Type: application/octet-stream');
        readfile('php://input');
        break;
    // An upload, read in pieces.
    case '/count':
        $bytes = 0;
        $hash = hash_init('sha256');
        $input = fopen('php://input', 'r');
        while (!feof($input)) {
            $piece = fread($input, 65536);
            $bytes += strlen($piece);
            hash_update($hash, $piece);
        }
        echo $bytes, ' ', hash_final($hash), ' ', $_SERVER['CONTENT_LENGTH'];
        break;
    // Two pieces, the second when the client has got the first: it says so by making a file.
    case '/flush':
        echo 'first';
        ob_flush();
        flush();
        $sign = $_GET['sign'];
        for ($tries = 0; $tries < 5000 && !file_exists($sign); $tries++) {
            usleep(1000);
            clearstatcache();
        }
        echo 'second';
        break;
    case '/large':
        for ($left = (int) $_GET['bytes']; $left > 0; $left -= 65536) {
            echo str_repeat('x', min($left, 65536));
        }
        break;
    case '/length':
        header('Content-Length: 5');
        echo 'hello';
        break;
    case '/empty':
        http_response_code(204);
        break;
    case '/not-modified':
        http_response_code(304);
        break;
    case '/moved':
        header('Location: /elsewhere');
        break;
    case '/status':
        http_response_code((int) $_GET['code']);
        echo 'as asked';
        break;
    case '/complain':
        error_log('a message of the script');
        echo $undefined;
        throw new RuntimeException('with a trace');
    case '/lie':
        header('Content-Length: 3');
        echo 'more than that';
        break;
    case '/die':
        posix_kill(getmypid(), 9);
        break;
    case '/hang':
        touch($_GET['sign']);
        sleep(60);
        break;
    case '/pid':
        echo getmypid();
        break;
    default:
        echo 'front controller: ', $path;
}
