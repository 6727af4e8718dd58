//! What lease tables need of DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeAction, AttributeDefinition, AttributeValue, AttributeValueUpdate, BillingMode, ConditionCheck,
    CreateGlobalSecondaryIndexAction, ExpectedAttributeValue, GlobalSecondaryIndex, GlobalSecondaryIndexUpdate,
    KeySchemaElement, KeyType, Projection, ProjectionType, Put, ReturnValue, ReturnValuesOnConditionCheckFailure,
    ScalarAttributeType, TableStatus, TransactWriteItem,
};
use serde_json::json;

use crate::client::*;

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
}

fn hash(name: &str) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap()
}

fn everything() -> Projection {
    Projection::builder().projection_type(ProjectionType::All).build()
}

/// A table `leases` with an index by owner.
async fn create(client: &Client) {
    let index =
        GlobalSecondaryIndex::builder().index_name("by-owner").key_schema(hash("leaseOwner")).projection(everything());
    let table = client.create_table().table_name("leases").billing_mode(BillingMode::PayPerRequest);
    let table = table.attribute_definitions(attribute("leaseKey")).attribute_definitions(attribute("leaseOwner"));
    table.key_schema(hash("leaseKey")).global_secondary_indexes(index.build().unwrap()).send().await.unwrap();
}

async fn table() -> (kinetide_local::Local, Client) {
    let local = start(|_| {}).await;
    let client = dynamodb(&local);
    create(&client).await;
    let put = client
        .put_item()
        .table_name("leases")
        .item("leaseKey", s("a"))
        .item("leaseOwner", s("w1"))
        .item("leaseCounter", n(1));
    put.send().await.unwrap();
    (local, client)
}

async fn item(client: &Client, key: &str) -> Option<HashMap<String, AttributeValue>> {
    client.get_item().table_name("leases").key("leaseKey", s(key)).consistent_read(true).send().await.unwrap().item
}

#[tokio::test]
async fn a_failed_condition_returns_the_item_that_failed_it() {
    let (_local, client) = table().await;
    let renew = |counter: i64| {
        let update = client.update_item().table_name("leases").key("leaseKey", s("a"));
        let update = update.update_expression("SET leaseCounter = :new").condition_expression("leaseCounter = :old");
        update.expression_attribute_values(":new", n(counter + 1)).expression_attribute_values(":old", n(counter))
    };
    renew(1).send().await.unwrap();
    let lost =
        renew(1).return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld).send().await;
    let UpdateItemError::ConditionalCheckFailedException(lost) = lost.unwrap_err().into_service_error() else {
        panic!()
    };
    assert_eq!(lost.item.unwrap()["leaseCounter"], n(2));
}

#[tokio::test]
async fn an_index_follows_its_table() {
    let (_local, client) = table().await;
    let owned = async |owner: &str| {
        let query =
            client.query().table_name("leases").index_name("by-owner").key_condition_expression("leaseOwner = :owner");
        query.expression_attribute_values(":owner", s(owner)).send().await.unwrap().count
    };
    assert_eq!((owned("w1").await, owned("w2").await), (1, 0));
    let take =
        client.update_item().table_name("leases").key("leaseKey", s("a")).update_expression("SET leaseOwner = :owner");
    take.expression_attribute_values(":owner", s("w2")).send().await.unwrap();
    assert_eq!((owned("w1").await, owned("w2").await), (0, 1));
    let release =
        client.update_item().table_name("leases").key("leaseKey", s("a")).update_expression("REMOVE leaseOwner");
    release.send().await.unwrap();
    assert_eq!(owned("w2").await, 0);
}

#[tokio::test]
async fn a_transaction_happens_wholly_or_not_at_all() {
    let (_local, client) = table().await;
    let put = |key: &str| {
        let put = Put::builder()
            .table_name("leases")
            .item("leaseKey", s(key))
            .condition_expression("attribute_not_exists(leaseKey)");
        TransactWriteItem::builder().put(put.build().unwrap()).build()
    };
    let check = ConditionCheck::builder()
        .table_name("leases")
        .key("leaseKey", s("a"))
        .condition_expression("attribute_not_exists(leaseKey)");
    let check = TransactWriteItem::builder().condition_check(check.build().unwrap()).build();
    let error = client
        .transact_write_items()
        .transact_items(put("b"))
        .transact_items(check)
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(error.is_transaction_canceled_exception(), "{error:?}");
    assert_eq!(item(&client, "b").await, None);
    client.transact_write_items().transact_items(put("b")).transact_items(put("c")).send().await.unwrap();
    assert!(item(&client, "b").await.is_some() && item(&client, "c").await.is_some());
}

/// The Java KCL writes leases with these instead of expressions.
#[tokio::test]
async fn legacy_parameters_work() {
    let (_local, client) = table().await;
    let change = |action: AttributeAction, value: Option<AttributeValue>| {
        AttributeValueUpdate::builder().action(action).set_value(value).build()
    };
    let expect = |value: AttributeValue| ExpectedAttributeValue::builder().value(value).build();
    let update = |counter: i64| {
        let update =
            client.update_item().table_name("leases").key("leaseKey", s("a")).return_values(ReturnValue::AllNew);
        let update = update.expected("leaseCounter", expect(n(counter))).expected("leaseOwner", expect(s("w1")));
        let update = update.expected("pendingCheckpoint", ExpectedAttributeValue::builder().exists(false).build());
        let update = update.attribute_updates("leaseCounter", change(AttributeAction::Add, Some(n(1))));
        update.attribute_updates("checkpoint", change(AttributeAction::Put, Some(s("TRIM_HORIZON"))))
    };
    let new = update(1).send().await.unwrap().attributes.unwrap();
    assert_eq!((&new["leaseCounter"], &new["checkpoint"]), (&n(2), &s("TRIM_HORIZON")));
    assert!(update(1).send().await.unwrap_err().into_service_error().is_conditional_check_failed_exception());
    let release = client.update_item().table_name("leases").key("leaseKey", s("a"));
    release.attribute_updates("leaseOwner", change(AttributeAction::Delete, None)).send().await.unwrap();

    let absent = ExpectedAttributeValue::builder().exists(false).build();
    let create = client.put_item().table_name("leases").item("leaseKey", s("a")).expected("leaseKey", absent);
    assert!(create.send().await.unwrap_err().into_service_error().is_conditional_check_failed_exception());
    let got = client
        .get_item()
        .table_name("leases")
        .key("leaseKey", s("a"))
        .attributes_to_get("leaseCounter")
        .send()
        .await
        .unwrap();
    assert_eq!(got.item.unwrap(), HashMap::from([("leaseCounter".to_owned(), n(2))]));
    let delete =
        client.delete_item().table_name("leases").key("leaseKey", s("a")).expected("leaseCounter", expect(n(7)));
    assert!(delete.send().await.unwrap_err().into_service_error().is_conditional_check_failed_exception());
}

#[tokio::test]
async fn errors_have_the_shape_of_the_service() {
    let (local, client) = table().await;
    let error = client.describe_table().table_name("absent").send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception());
    let answer =
        call(&local, "DynamoDB_20120810.PutItem", json!({ "TableName": "leases", "Item": { "leaseKey": { "S": 5 } } }))
            .await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["__type"].as_str().unwrap().ends_with("#SerializationException"), "{}", answer.text());
    let answer = call(
        &local,
        "DynamoDB_20120810.PutItem",
        json!({ "TableName": "leases", "Item": { "leaseKey": { "NULL": false } } }),
    )
    .await;
    assert_eq!(answer.headers["x-amzn-errortype"], "ValidationException");
    assert!(
        answer.json()["message"].as_str().unwrap().starts_with("1 validation error detected: "),
        "{}",
        answer.text()
    );
    let answer = call(&local, "DynamoDB_20120810.NoSuchThing", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.json()["__type"].as_str().unwrap()), (400, "UnknownOperationException"));
}

#[tokio::test]
async fn with_aws_timing_tables_and_indexes_take_their_time() {
    let local = start(|settings| settings.aws_timing = true).await;
    let client = dynamodb(&local);
    let begun = std::time::SystemTime::now();
    create(&client).await;
    let status = async || {
        client.describe_table().table_name("leases").send().await.unwrap().table.unwrap().table_status.unwrap()
    };
    assert_eq!(status().await, TableStatus::Creating);
    let early =
        client.put_item().table_name("leases").item("leaseKey", s("a")).send().await.unwrap_err().into_service_error();
    assert!(early.is_resource_not_found_exception());
    until("the table is ACTIVE", async || status().await == TableStatus::Active).await;
    assert!(begun.elapsed().unwrap().as_millis() >= 7900);
    client.put_item().table_name("leases").item("leaseKey", s("a")).send().await.unwrap();

    let index = CreateGlobalSecondaryIndexAction::builder()
        .index_name("later")
        .key_schema(hash("other"))
        .projection(everything());
    let update = GlobalSecondaryIndexUpdate::builder().create(index.build().unwrap()).build();
    let change = client.update_table().table_name("leases").attribute_definitions(attribute("other"));
    change.global_secondary_index_updates(update).send().await.unwrap();
    let table = client.describe_table().table_name("leases").send().await.unwrap().table.unwrap();
    let statuses: HashMap<_, _> = table
        .global_secondary_indexes()
        .iter()
        .map(|index| (index.index_name().unwrap(), index.index_status().unwrap().as_str()))
        .collect();
    assert_eq!(statuses, HashMap::from([("by-owner", "ACTIVE"), ("later", "CREATING")]));
    let query = client.query().table_name("leases").index_name("later").key_condition_expression("other = :o");
    let error = query.expression_attribute_values(":o", s("x")).send().await.unwrap_err();
    assert!(format!("{error:?}").contains("backfilling"), "{error:?}");
}
