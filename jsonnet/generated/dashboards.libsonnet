{
  'sightglass-cost.json': import 'dashboards/sightglass-cost.json',
  'sightglass-data-quality.json': import 'dashboards/sightglass-data-quality.json',
  'sightglass-gpu.json': import 'dashboards/sightglass-gpu.json',
  'sightglass-inference-latency.json': import 'dashboards/sightglass-inference-latency.json',
  'sightglass-model-quality.json': import 'dashboards/sightglass-model-quality.json',
  'sightglass-overview.json': import 'dashboards/sightglass-overview.json',
  'sightglass-response.json': import 'dashboards/sightglass-response.json',
}
