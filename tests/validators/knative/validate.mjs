// Judges services of Knative by the schema that its Go types make (@kubernetes-models/knative): FILE...
// Writes a line for each, `FILE: fits` or `FILE: WHY`. Fields that nobody knows pass here; the pod's are refused by
// ../kubernetes/validate.py.

import fs from 'fs';
import yaml from 'js-yaml';
import { Service } from '@kubernetes-models/knative/serving.knative.dev/v1';

for (const path of process.argv.slice(2)) {
  let verdict = 'fits';
  try {
    new Service(yaml.load(fs.readFileSync(path, 'utf8'))).validate();
  } catch (error) {
    verdict = error.message.replace(/\s*\n\s*/g, '; ');
  }
  console.log(`${path}: ${verdict}`);
}
