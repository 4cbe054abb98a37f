// What `azd up` makes: a resource group with the function in it. See docs/deploy.md.
targetScope = 'subscription'

@minLength(1)
@maxLength(32)
@description('The name of the azd environment; every resource is tagged with it.')
param environmentName string

@description('An Azure region that has Flex Consumption plans.')
param location string

@description('Pages of other sites that may ask: `azd env set FIELDMARK_CORS https://...`')
param origins string

@description('1 for a page at /, without a key: `azd env set FIELDMARK_PAGE 1`')
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
