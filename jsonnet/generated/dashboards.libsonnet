{
  'sightglass-data-quality.json': import 'dashboards/sightglass-data-quality.json',
}
