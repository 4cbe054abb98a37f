// What `azd up` creates: a resource group that contains the function. See docs/deploy.md.
targetScope = 'subscription'

@minLength(1)
@maxLength(32)
@description('Name of the azd environment; all resources are tagged with it.')
param environmentName string

@description('An Azure region that has Flex Consumption plans.')
param location string

@description('Origins that may call the function: `azd env set FIELDMARK_CORS https://...`')
param origins string

@description('1 serves a page at /, without a key: `azd env set FIELDMARK_PAGE 1`')
param page string

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: { 'azd-env-name': environmentName }
}

module function 'function.bicep' = {
  name: 'function'
  scope: group
  params: {
    environmentName: environmentName
    location: location
    origins: origins
    page: page
  }
}

output FIELDMARK_FUNCTION_URL string = function.outputs.url
output AZURE_FUNCTION_NAME string = function.outputs.name
