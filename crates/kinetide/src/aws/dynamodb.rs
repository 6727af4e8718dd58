//! The lease table in DynamoDB.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ReturnValue,
    ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableDescription, TableStatus,
};

use super::error::{Place, table_error};
use super::item::{self, Item};
use super::load::Aws;
use crate::clock::Clock;
use crate::lease::{Claim, Lease, LeaseKey, LeaseTable, LeaseUpdate, Prepared, TableError, TableErrorKind};
use crate::stream::id::TableName;

const POLL_INTERVAL_FIRST: Duration = Duration::from_millis(50);
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(2);
const CREATE_TIME_MAX: Duration = Duration::from_secs(600);
/// Pages of one listing: 1 MB each, thousands of leases.
const PAGES_MAX: usize = 10_000;

/// A lease table in DynamoDB, in the layout of the Java KCL.
#[derive(Debug, Clone)]
pub struct DynamoDbLeaseTable {
    client: Client,
    name: String,
    address: Arc<str>,
    clock: Clock,
}

impl DynamoDbLeaseTable {
    /// The table of this name; nothing is called yet.
    #[must_use]
    pub fn new(aws: &Aws, name: &TableName) -> Self {
        Self {
            client: aws.dynamodb.clone(),
            name: name.to_string(),
            address: aws.dynamodb_address.clone(),
            clock: Clock::system(),
        }
    }

    fn place(&self) -> Place<'_> {
        Place { table: &self.name, address: &self.address }
    }

    fn error(&self, kind: TableErrorKind, operation: &'static str, message: impl Into<String>) -> TableError {
        TableError::new(kind, operation, &self.name, message)
    }

    async fn describe(&self) -> Result<Option<TableDescription>, TableError> {
        match self.client.describe_table().table_name(&self.name).send().await {
            Ok(output) => Ok(output.table),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(table_error("DescribeTable", self.place(), error)),
        }
    }

    /// Asks for the table; true if this call made it.
    async fn create_table(&self) -> Result<bool, TableError> {
        let request = self
            .client
            .create_table()
            .table_name(&self.name)
            .set_attribute_definitions(Some(vec![key_definition()]))
            .set_key_schema(Some(vec![key_schema()]))
            .billing_mode(BillingMode::PayPerRequest);
        match request.send().await {
            Ok(_) => Ok(true),
            // Another worker was faster.
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(false),
            Err(error) => Err(table_error("CreateTable", self.place(), error)),
        }
    }

    async fn wait_until_usable(&self) -> Result<(), TableError> {
        let give_up_at = self.clock.monotonic().after(CREATE_TIME_MAX);
        let mut interval = POLL_INTERVAL_FIRST;
        while self.clock.monotonic() < give_up_at {
            let table = self.describe().await?;
            if table.as_ref().is_some_and(is_usable) {
                return Ok(());
            }
            self.clock.sleep(interval).await;
            interval = (interval * 2).min(POLL_INTERVAL_MAX);
        }
        let message = format!("the table was not ready within {} s", CREATE_TIME_MAX.as_secs());
        Err(self.error(TableErrorKind::Unavailable, "DescribeTable", message))
    }

    fn check_layout(&self, table: &TableDescription) -> Result<(), TableError> {
        let keys: Vec<_> = table.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
        if keys == [item::KEY] {
            return Ok(());
        }
        let message = format!("its key is ({}) and not ({})", keys.join(", "), item::KEY);
        Err(self.error(TableErrorKind::NotALeaseTable, "DescribeTable", message))
    }

    /// The lease in an item of a listing; an item that cannot be read hides only itself.
    fn read_listed(&self, item: &Item) -> Option<Lease> {
        item::read(item).unwrap_or_else(|error| {
            tracing::error!("{error}, table={}; this lease is left alone", self.name);
            None
        })
    }

    fn read(&self, operation: &'static str, item: &Item) -> Result<Option<Lease>, TableError> {
        item::read(item).map_err(|error| self.error(TableErrorKind::Invalid, operation, error.to_string()))
    }

    /// The row that stood in the way, from the refusal itself or else by reading it.
    async fn lost(&self, operation: &'static str, key: &LeaseKey, item: Option<Item>) -> Result<Claim, TableError> {
        match item {
            Some(item) => Ok(Claim::Lost(self.read(operation, &item)?)),
            None => Ok(Claim::Lost(self.get(key).await?)),
        }
    }
}

fn key_definition() -> AttributeDefinition {
    let builder = AttributeDefinition::builder().attribute_name(item::KEY).attribute_type(ScalarAttributeType::S);
    builder.build().expect("name and type are given")
}

fn key_schema() -> KeySchemaElement {
    let builder = KeySchemaElement::builder().attribute_name(item::KEY).key_type(KeyType::Hash);
    builder.build().expect("name and type are given")
}

fn is_usable(table: &TableDescription) -> bool {
    matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating))
}

fn key_of(key: &LeaseKey) -> AttributeValue {
    AttributeValue::S(key.to_string())
}

#[async_trait]
impl LeaseTable for DynamoDbLeaseTable {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prepare(&self) -> Result<Prepared, TableError> {
        let mut is_created = false;
        match self.describe().await? {
            Some(table) => {
                self.check_layout(&table)?;
                if is_usable(&table) {
                    return Ok(Prepared::Existed);
                }
            }
            None => is_created = self.create_table().await?,
        }
        self.wait_until_usable().await?;
        Ok(if is_created { Prepared::Created } else { Prepared::Existed })
    }

    async fn list(&self) -> Result<Vec<Lease>, TableError> {
        let (mut leases, mut next) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let request = self.client.scan().table_name(&self.name).set_exclusive_start_key(next);
            let page = request.send().await.map_err(|error| table_error("Scan", self.place(), error))?;
            leases.extend(page.items().iter().filter_map(|item| self.read_listed(item)));
            next = page.last_evaluated_key;
            if next.is_none() {
                return Ok(leases);
            }
        }
        Err(self.error(TableErrorKind::Invalid, "Scan", "the listing has no end"))
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        let request = self.client.get_item().table_name(&self.name).key(item::KEY, key_of(key)).consistent_read(true);
        let output = request.send().await.map_err(|error| table_error("GetItem", self.place(), error))?;
        output.item.map_or(Ok(None), |item| self.read("GetItem", &item))
    }

    async fn create(&self, lease: &Lease) -> Result<Claim, TableError> {
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item::write(lease)))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", item::KEY)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(Claim::Won(lease.clone())),
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_conditional_check_failed_exception() => {
                    let item = conflicting_item(service);
                    self.lost("PutItem", &lease.key, item).await
                }
                _ => Err(table_error("PutItem", self.place(), error)),
            },
        }
    }

    async fn update(&self, update: &LeaseUpdate) -> Result<Claim, TableError> {
        let expressions = item::expressions(update);
        let request = self
            .client
            .update_item()
            .table_name(&self.name)
            .key(item::KEY, key_of(&update.key))
            .condition_expression(expressions.condition)
            .update_expression(expressions.update)
            .set_expression_attribute_names(Some(expressions.names))
            .set_expression_attribute_values((!expressions.values.is_empty()).then_some(expressions.values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(output) => {
                let row = self.read("UpdateItem", &output.attributes.unwrap_or_default())?;
                let vanished = || self.error(TableErrorKind::Invalid, "UpdateItem", "the answer holds no lease");
                row.map(Claim::Won).ok_or_else(vanished)
            }
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_conditional_check_failed_exception() => {
                    let item = conflicting_item(service);
                    self.lost("UpdateItem", &update.key, item).await
                }
                _ => Err(table_error("UpdateItem", self.place(), error)),
            },
        }
    }

    async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        let request = self.client.delete_item().table_name(&self.name).key(item::KEY, key_of(key));
        request.send().await.map_err(|error| table_error("DeleteItem", self.place(), error))?;
        Ok(())
    }
}

/// The item a failed condition returned, from either kind of write.
fn conflicting_item(error: &(dyn std::error::Error + 'static)) -> Option<Item> {
    use aws_sdk_dynamodb::operation::{put_item::PutItemError, update_item::UpdateItemError};
    let refusal = match (error.downcast_ref::<UpdateItemError>(), error.downcast_ref::<PutItemError>()) {
        (Some(UpdateItemError::ConditionalCheckFailedException(refusal)), _) => refusal,
        (_, Some(PutItemError::ConditionalCheckFailedException(refusal))) => refusal,
        _ => return None,
    };
    refusal.item().cloned()
}
