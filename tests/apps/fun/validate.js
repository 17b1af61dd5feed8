'use strict';

// Judges templates as `fun validate` does, with its own code: `lib/validate/validate.js` of @alicloud/fun 3.6.24, which
// scripts/setup-tests unpacks beside this file, unchanged: FILE... Writes a line for each, `FILE: fits` or `FILE: WHY`.

const path = require('path');
const validate = require(path.join(__dirname, 'unpacked/lib/validate/validate.js'));

const print = console.log;
(async () => {
  for (const file of process.argv.slice(2)) {
    const said = [];
    // It says what is wrong on stdout, in colours.
    console.log = (line) => said.push(String(line).replace(/\x1b\[[0-9;]*m/g, ''));
    let verdict = 'fits';
    try {
      await validate(file);
    } catch (error) {
      verdict = said.join('; ') || error.message;
    }
    console.log = print;
    print(`${file}: ${verdict}`);
  }
})();
