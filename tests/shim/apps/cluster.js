// Two processes behind one listener: the first binds it and passes what it accepts, or the listener itself.
const cluster = require('cluster');
if (cluster.isPrimary) {
    cluster.fork();
    cluster.fork();
} else {
    require('./http.js');
}
